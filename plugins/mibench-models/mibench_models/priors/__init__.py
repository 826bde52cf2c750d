"""Priors: generators that tell an attack what images look like."""
