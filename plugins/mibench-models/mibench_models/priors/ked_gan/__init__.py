"""DCGAN trained on public images that the target labels."""
