"""Pictures in files: found, looked through for faults, and decoded one batch at a time."""
