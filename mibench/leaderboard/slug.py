"""A row's name in addresses and files."""

from __future__ import annotations

import re

from mibench.leaderboard.row import Row
from mibench.leaderboard.variants import component_digest
from mibench.results.record import Record

FIRST = "1"
"""Version of a component that never gave other numbers; addresses were published that leave it out."""


def row_slug(row: Row) -> str:
    """Return a row's name in addresses and files: lower-case letters, digits, ``.``, ``_`` and ``-``.

    It stays while the row's model and defense, their versions and parameters do, whatever other rows there are.
    """
    text = f"{row.model}-{row.defense}-{row.params_digest}{_model(row.records[0])}".lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-.")[:120] or "row"


def _model(record: Record) -> str:
    """Return what tells a model from the plain one of its name: the first version, without a preset."""
    part = record.components.get("model")
    plain = part is None or (part.preset is None and part.version == FIRST)
    return "" if plain else f"-{component_digest(record, 'model')}"
