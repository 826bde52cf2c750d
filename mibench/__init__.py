"""The referee of model inversion: run defenses against attacks under frozen protocols."""

__version__ = "0.1.0"
