"""Contract suites and a tiny world for plugin authors."""
