"""What a search descends: identity losses, distances, image priors, constraints."""
