"""The generative process of ``rendered-faces`` as a differentiable prior: the attacker who knows it exactly."""
