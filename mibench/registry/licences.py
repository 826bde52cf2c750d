"""Under which terms a component is, as others can read them."""

from __future__ import annotations

from mibench.registry.registered import Registered

OWN = "LicenseRef-"
"""Beginning of a name that is in no list of licences (SPDX); what it means stands with the component."""


def licence_address(entry: Registered) -> str:
    """Return the address of a listed licence, or what the component says of terms of its own."""
    stated = entry.spec.licence
    if stated.startswith(OWN):
        return f"{stated}: terms of its own, see {entry.distribution} and the dataset's authors"
    return f"https://spdx.org/licenses/{stated}.html"
