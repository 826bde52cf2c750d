"""Robust accuracy under AutoAttack (Croce & Hein, ICML 2020), with the work shared over a sweep of eps."""
