"""StyleGAN2 that somebody else trained, and the reader of its file."""
