"""Frozen protocols and requests."""
