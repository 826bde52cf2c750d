"""Networks that somebody else wrote and trained, as classifiers: weights and code, or one file that has both."""
