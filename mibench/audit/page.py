"""The audit as a page for readers who are no experts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mibench.audit.advice import command, limits, shown, suggestions
from mibench.audit.draft import Template
from mibench.audit.findings import AttackFound, Findings, verdict
from mibench.audit.prepare import Prepared
from mibench.audit.worst import Example
from mibench.registry.registry import Registry
from mibench.report import Gallery, NamedNumber, leakage_chart, render_page, strips
from mibench.results.display import difference, printable, short, with_interval
from mibench.results.normalize import control
from mibench.results.record import Record

Row = tuple[str, list[str]]


def render_audit(
    prepared: Prepared,
    template: Template,
    found: Findings,
    examples: Sequence[Example],
    records: Sequence[Record],
    report: Path | None,
    registry: Registry,
) -> str:
    """Return the HTML of an audit; equal input gives equal text."""
    files = {"protocol": prepared.protocol, "records": prepared.protocol.parent / "records", "all numbers": report}
    tried = suggestions(prepared, template, registry)
    return render_page(
        "audit.html",
        verdict=verdict(found),
        people=found.people,
        counts=counts(found),
        chart=_chart(found, records),
        examples=strips(_gallery(examples)),
        attacks=[(one.name, _attack(one, found)) for one in found.attacks],
        twin=found.twin,
        failed=[(printable(name), printable(reason, 2000)) for name, reason in found.failed],
        flags=list(dict.fromkeys(text for one in found.attacks for text in one.flags)),
        subject=subject(prepared, found),
        limits=list(limits(prepared, found)),
        defenses=[(one.name, [one.summary, " ".join(one.limits)]) for one in tried],
        try_command=command(prepared, template, tried[0].name if tried else "NAME"),
        command=shlex.join(["mibench", "run", "--protocol", shown(prepared.protocol)]),
        files=[(name, shown(path)) for name, path in files.items() if path],
    )


def counts(found: Findings) -> list[Row]:
    """Return the numbers of people who are recognised, with those beside them."""
    of, best = found.people, found.attacks[0] if found.attacks else None
    rows = [("this network", len(found.recognised), "in images of at least one attack")]
    if best is not None and len(found.attacks) > 1:
        rows.append((f"this network, {best.name} alone", len(best.recognised), "by the attack that finds most"))
    if best is not None and best.twin is not None:
        most = max(one.twin for one in found.attacks if one.twin is not None)
        rows.append(
            ("undefended twin", most, f"by the attack that finds most, in {found.twin}, trained without defense")
        )
    rows.append(("floor", found.floor, "by chance: pictures that the network likes, and that nobody optimised"))
    if found.lookalike is not None:
        rows.append(("look-alikes", found.lookalike, "photographs of public people that the network takes for them"))
    rows.append(("gold", found.gold, "on held-out photographs of themselves: the most that the judge can recognise"))
    return [(name, [f"{number} of {of}", meaning]) for name, number, meaning in rows]


def subject(prepared: Prepared, found: Findings) -> list[tuple[str, str]]:
    """Return what was looked at."""
    request, people = prepared.request, prepared.people
    train, test = people.images
    rows = [
        ("network", request.model),
        ("weights", request.weights.name if request.weights else "in the same file"),
        ("accuracy on held-out photographs", short(found.accuracy)),
        ("private people", f"{len(people.names)}, with {train} photographs to learn from and {test} held out"),
        ("public people", str(people.public)),
        ("the attacker sees", {"white-box": "the weights"}.get(request.access, request.access)),
    ]
    if found.twin:
        rows.append(("twin", f"{found.twin}, accuracy {short(found.twin_accuracy)}"))
    return [(name, printable(value)) for name, value in rows]


def _attack(one: AttackFound, found: Findings) -> list[str]:
    minus = difference(*one.above_floor) if one.above_floor else short(None)
    cells = [one.access, f"{len(one.recognised)} of {found.people}"]
    cells += [with_interval(one.share.value, one.share.ci95), minus, short(one.evaluators)]
    cells += ["–" if one.twin is None else f"{one.twin} of {found.people}"] if found.twin else []
    return [*cells, _time(one.seconds), f"{one.forward:,}".replace(",", " "), f"{one.backward:,}".replace(",", " ")]


def _chart(found: Findings, records: Sequence[Record]) -> Any:
    lines = {}
    for which in ("floor", "gold"):
        values = [metric.value for record in records if record.status == "done" and (metric := control(record, which))]
        lines[which] = sum(values) / len(values) if values else None
    bars = [NamedNumber(one.name, one.share.value, one.share.ci95) for one in found.attacks]
    return leakage_chart(bars, lines["floor"], lines["gold"])


def _gallery(examples: Sequence[Example]) -> Gallery:
    rows = [
        replace(
            one.row, label=f"{printable(one.name)}: {one.share:.0%} of the images of {one.attack} lead to this person"
        )
        for one in examples
    ]
    return Gallery("worst examples", rows)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
