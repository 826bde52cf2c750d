"""What changed since the site was last built: rows that came, moved or went, and why. Nothing vanishes silently."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from mibench.base.canonical import digest
from mibench.exchange.cite import records_digest
from mibench.results.display import short
from mibench.site.entry import BoardPages, Entry
from mibench.site.withdrawn import Gone

FORMAT = 1
MOST = 500
"""Changes that are kept; older ones are in the history of the repository."""
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._+-]*/\d+\.\d+/(index|rows/[a-z0-9_-][a-z0-9._-]*)\.html")
"""Addresses that builds make; others, from a file that was edited, are passed over."""
State = Mapping[str, Any]
Change = Mapping[str, str]


def note_changes(boards: Sequence[BoardPages], before: Mapping[str, Any] | None, date: str) -> dict[str, Any]:
    """Return what ``changes.json`` holds: the rows as they are, and all changes, newest first.

    Args:
        boards: the boards now.
        before: what the file of the last build held; ``None`` for the first.
        date: of this build, ``YYYY-MM-DD``.
    """
    now = {board.section.protocol: {entry.slug: _state(entry) for entry in board.entries} for board in boards}
    gone_for_good = [one for board in boards for one in board.withdrawn]
    told = set(before.get("withdrawn", ())) if before else set()
    taken = {(one.board, one.slug): one for one in gone_for_good if _key(one) not in told}
    found = [
        _change(date, one.board, one.slug, "withdrawn", one.text) for one in gone_for_good if _key(one) not in told
    ]
    old = before["boards"] if before else {}
    for name, rows in now.items():
        found += _compare(date, name, old.get(name), rows, {slug for board, slug in taken if board == name})
    found += [
        _change(date, name, "", "went", "the board is no longer published here") for name in old if name not in now
    ]
    changes = [*found, *(before["changes"] if before else ())][:MOST]
    return {"format": FORMAT, "boards": now, "withdrawn": sorted(map(_key, gone_for_good)), "changes": changes}


def to_json(content: Mapping[str, Any]) -> str:
    """Return the text of ``changes.json``."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_atom(changes: Sequence[Change], url: str, date: str) -> str:
    """Return the changes as an Atom feed.

    Args:
        changes: newest first.
        url: address of the site with a slash at its end; empty for relative links.
        date: of the build.
    """
    entries = "".join(
        f"<entry><id>urn:mibench:change:{digest(dict(one))[:32]}</id><title>{escape(_title(one))}</title>"
        f"<updated>{escape(one['date'])}T00:00:00Z</updated><link href={quoteattr(url + _address(one))}/>"
        f"<summary>{escape(one['text'])}</summary></entry>\n"
        for one in changes[:50]
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<id>urn:mibench:changes</id><title>Changes of the mibench leaderboards</title>\n"
        f"<updated>{escape(date)}T00:00:00Z</updated><author><name>mibench</name></author>\n{entries}</feed>\n"
    )


def _state(entry: Entry) -> dict[str, Any]:
    row = entry.row
    return {
        "name": entry.name,
        "rank": row.rank or None,
        "leakage": row.leakage.value,
        "attacks": list(row.attacks),
        "records": len(row.records),
        "digest": records_digest(row),
    }


def _compare(
    date: str, board: str, before: Mapping[str, State] | None, rows: Mapping[str, State], taken: Collection[str]
) -> Iterator[Change]:
    """Yield what became of the rows of a board; ``taken`` are those of which records were withdrawn, told already."""
    if before is None:
        yield _begun(date, board, rows)
        return
    why = _why(before, rows, taken)
    for slug, row in rows.items():
        old = before.get(slug)
        if old is None:
            yield _change(date, board, slug, "came", f"{row['name']}: {_placed(row)}")
        elif old["digest"] != row["digest"]:
            yield _change(date, board, slug, "changed", f"{row['name']}: {_told(old, row)}")
        elif old["rank"] != row["rank"]:
            text = f"{row['name']}: {_moved(old, row)}; its own numbers are as before{why}"
            yield _change(date, board, slug, "moved", text)
    for slug, old in before.items():
        if slug not in rows and slug not in taken:
            text = f"{old['name']}: its {old['records']} records are no longer on the board"
            yield _change(date, board, slug, "went", text)


def _why(before: Mapping[str, State], rows: Mapping[str, State], taken: Collection[str]) -> str:
    """Return which rows made others move."""
    found = [f"{row['name']} came" for slug, row in rows.items() if slug not in before]
    found += [
        f"{row['name']} changed"
        for slug, row in rows.items()
        if slug in before and before[slug]["digest"] != row["digest"]
    ]
    found += [
        f"{old['name']} {'was withdrawn' if slug in taken else 'went'}"
        for slug, old in before.items()
        if slug not in rows
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"; {', '.join(found[:3])}{more}" if found else ""


def _key(one: Gone) -> str:
    return f"{one.board}/{one.id}/{one.slug}"


def _begun(date: str, board: str, rows: Mapping[str, State]) -> Change:
    return _change(date, board, "", "came", f"the board begins with {len(rows)} rows")


def _told(old: State, row: State) -> str:
    new, gone = (sorted(set(a["attacks"]) - set(b["attacks"])) for a, b in ((row, old), (old, row)))
    parts = [f"{old['records']} to {row['records']} records"]
    parts += [f"new attacks: {', '.join(new)}"] * bool(new) + [f"attacks that went: {', '.join(gone)}"] * bool(gone)
    parts += [f"leakage {short(old['leakage'])} to {short(row['leakage'])}", _moved(old, row)]
    return "; ".join(parts)


def _moved(old: State, row: State) -> str:
    if old["rank"] == row["rank"]:
        return f"rank {row['rank'] or 'none'} as before"
    return f"rank {old['rank'] or 'none'} to {row['rank'] or 'none'}"


def _placed(row: State) -> str:
    return f"leakage {short(row['leakage'])}, {'rank ' + str(row['rank']) if row['rank'] else 'no rank'}"


def _change(date: str, board: str, row: str, kind: str, text: str) -> Change:
    return {"date": date, "board": board, "row": row, "kind": kind, "text": text}


def _title(change: Change) -> str:
    return f"{change['board']}: {change['text']}"[:200]


def _address(change: Change) -> str:
    place = change["board"].replace("@", "/")
    return f"{place}/rows/{change['row']}.html" if change["row"] else f"{place}/index.html"


def is_history(content: Any) -> bool:
    """Tell whether content has the form of ``changes.json``."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return False
    rows = [row for board in content.get("boards", {}).values() for row in board.values()]
    fields = {"date", "board", "row", "kind", "text"}
    if not all(isinstance(one, str) for one in content.get("withdrawn", ())):
        return False
    return all(
        isinstance(row, dict) and {"name", "rank", "leakage", "attacks", "records", "digest"} <= set(row)
        for row in rows
    ) and all(
        isinstance(one, dict) and fields == set(one) and all(isinstance(value, str) for value in one.values())
        for one in content.get("changes", [])
    )


def gone(changes: Sequence[Change], boards: Sequence[BoardPages]) -> dict[str, Change]:
    """Return the addresses at which something stood that is no longer there, each with the change that took it away."""
    there = {f"{board.address}/rows/{entry.slug}.html" for board in boards for entry in board.entries}
    there |= {f"{board.address}/index.html" for board in boards}
    found: dict[str, Change] = {}
    for change in changes:
        address = _address(change)
        if change["kind"] in ("went", "withdrawn") and _PLAIN.fullmatch(address) and address not in there:
            found.setdefault(address, change)
    return found


def of_row(changes: Iterable[Change], board: str, slug: str) -> list[Change]:
    """Return the changes of one row, newest first."""
    return [change for change in changes if change["board"] == board and change["row"] == slug]
