"""How an image is shown to the target: random crops and the alignment of gradients over copies."""
