"""Boards in the formats of others: per-person values, citations, Every Eval Ever, Hugging Face, Croissant."""
