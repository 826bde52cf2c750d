"""Executors and the run of a request."""
