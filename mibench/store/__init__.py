"""Content-addressed artifacts, committed atomically."""
