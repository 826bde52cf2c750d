"""From a request to a graph of keyed stages."""
