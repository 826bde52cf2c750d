"""Students distilled from a target on public images."""
