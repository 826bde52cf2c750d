"""The units of cached work."""
