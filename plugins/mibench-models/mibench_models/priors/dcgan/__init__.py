"""DCGAN trained as a Wasserstein GAN with gradient penalty."""
