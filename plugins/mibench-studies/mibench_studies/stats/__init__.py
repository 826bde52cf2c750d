"""Statistics that studies share, on arrays alone."""
