"""Conditional diffusion on public images that the target labels."""
