"""Anti-Adversarial Training (AT-AT), the reference defense of mibench."""
