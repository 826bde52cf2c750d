"""Discovery of plugins, each isolated from the others."""
