"""How a classifier is trained: one loop for targets, evaluators, pre-trainings and the contract suites."""
