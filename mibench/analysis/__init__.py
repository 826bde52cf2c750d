"""Statistics over records; never imports torch."""
