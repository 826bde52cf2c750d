"""Records: one JSON file per cell."""
