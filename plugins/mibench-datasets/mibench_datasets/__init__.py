"""Datasets and protocols for mibench."""
