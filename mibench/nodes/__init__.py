"""The stages: for each its inputs, the roles of what it needs, and the files that it makes. Imports no torch.

A stage is one module here, and one function in :mod:`mibench.stages` that the module names.
"""
