"""Accepted records of a protocol version; never imports torch."""
