"""A user's own classifier as target: looked at, written into a protocol of its own, attacked, and reported on."""
