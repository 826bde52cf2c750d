"""BibTeX for rows of a board, and text that LaTeX may read."""

from __future__ import annotations

import re

from mibench.base.canonical import digest
from mibench.leaderboard.row import Row
from mibench.leaderboard.slug import row_slug as row_slug
from mibench.results.display import printable

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}
_ENTRY = re.compile(r"@\w+\{\s*([^\s,{}]+)\s*,")


def tex(text: str) -> str:
    r"""Return foreign text as LaTeX that prints it.

    >>> tex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_SPECIAL.get(char, char) for char in printable(text, 500))


def cite_row(row: Row, digest_of_protocol: str, slug: str, address: str = "") -> str:
    """Return a BibTeX entry of a row, which names the protocol with its digest and a digest over the row's records.

    Args:
        row: the row.
        digest_of_protocol: of the frozen protocol.
        slug: the row's name in addresses.
        address: of its page, if that is known.
    """
    name = f"{row.defense} ({row.note})" if row.note else row.defense
    fields = {
        "title": f"{{{tex(name)} on {tex(row.model)}: leakage and accuracy under {tex(row.protocol)}}}",
        "author": "{{The mibench leaderboard}}",
        "note": f"{{protocol {tex(row.protocol)}, digest {digest_of_protocol[:12]}; {len(row.records)} records, digest "
        f"{records_digest(row)}}}",
    }
    if address:
        fields["howpublished"] = f"{{\\url{{{address}}}}}"
    body = ",\n".join(f"  {field} = {value}" for field, value in fields.items())
    return f"@misc{{{row_key(row, slug)},\n{body}\n}}\n"


def row_key(row: Row, slug: str) -> str:
    """Return the key of a row's BibTeX entry."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", f"mibench-{row.protocol}-{slug}")


def records_digest(row: Row) -> str:
    """Return 12 digits over the digests of a row's records: equal numbers have equal digits."""
    return digest(sorted(record.digest for record in row.records))[:12]


def bibtex_keys(text: str) -> list[str]:
    """Return the keys of the entries in a BibTeX text.

    >>> bibtex_keys("@article{a2026b, title={x}}")
    ['a2026b']
    """
    return _ENTRY.findall(text)
