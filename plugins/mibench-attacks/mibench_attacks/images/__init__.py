"""From latents to images in batches that fit."""
