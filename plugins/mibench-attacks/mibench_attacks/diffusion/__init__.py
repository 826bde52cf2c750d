"""Parts of attacks through a diffusion model."""
