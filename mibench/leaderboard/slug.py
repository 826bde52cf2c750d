"""A row's name in addresses and files."""

from __future__ import annotations

import re

from mibench.leaderboard.row import Row


def row_slug(row: Row) -> str:
    """Return a row's name in addresses and files: lower-case letters, digits, ``.``, ``_`` and ``-``.

    It stays while the row's model, defense, version and parameters do.
    """
    text = f"{row.model}-{row.defense}-{row.params_digest}".lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-.")[:120] or "row"
