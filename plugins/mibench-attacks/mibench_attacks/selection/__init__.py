"""Which candidates a search starts from, and which of its outcomes are delivered."""
