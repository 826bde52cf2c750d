"""Records and pictures from the artifacts of a cell, and records against what is installed."""
