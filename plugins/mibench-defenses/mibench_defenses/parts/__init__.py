"""Parts that defenses are made of."""
