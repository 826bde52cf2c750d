"""Privacy defenses of image classifiers for mibench."""
