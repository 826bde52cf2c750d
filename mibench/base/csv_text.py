"""Tables as text that every spreadsheet reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    r"""Return CSV as of RFC 4180, but with plain newlines, as git keeps them. What is ``None`` is empty.

    >>> csv_text(("name", "said"), [("ann", "a, b"), ("bob", None)])
    'name,said\nann,"a, b"\nbob,\n'
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
