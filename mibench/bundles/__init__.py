"""Bundles of evidence: what is needed to measure records again, without attacking and without a GPU."""
