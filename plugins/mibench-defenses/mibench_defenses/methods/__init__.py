"""The defenses: one module per method."""
