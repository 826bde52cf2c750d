"""Executors: ways to run the stages of a plan, and what they need of processes, signals and streams."""
