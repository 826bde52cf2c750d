"""Conditional GAN on public images that the target labels."""
