"""Model-inversion attacks for mibench."""
