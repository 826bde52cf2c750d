"""Leakage, utility and robustness metrics for mibench."""
