"""Spaces of latents: P-space, normalising flows, states between the blocks of a generator."""
