"""The attacks: one module per method, a composition of the parts in the folders beside this one."""
