"""Classifiers, priors and face embedders for mibench."""
