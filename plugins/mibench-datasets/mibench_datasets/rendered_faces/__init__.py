"""Faces rendered from a CC0 head model: any number of identities with exact ground truth and no real person."""
