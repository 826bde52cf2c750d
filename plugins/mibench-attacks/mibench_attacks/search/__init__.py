"""How candidates are improved: gradient descent in latents or pixels, optimisers, tuning of a prior."""
