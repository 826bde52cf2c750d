"""``mibench list``: what is installed. Imports no component."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from mibench.api.errors import unknown
from mibench.cli.terminal import echo, echo_json, echo_table
from mibench.registry.kinds import SPEC_TYPES, as_kind, plural
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry, load_registry

PLUGINS = "plugins"


@click.command(name="list")
@click.argument("kind", required=False, metavar=f"[{'|'.join(plural(kind) for kind in SPEC_TYPES)}|{PLUGINS}]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_components(kind: str | None, as_json: bool) -> None:
    """List what is installed, and plugins that could not be used or that slow everything down."""
    words = [plural(known) for known in SPEC_TYPES]
    if kind and kind != PLUGINS and kind not in {*SPEC_TYPES, *words}:
        raise unknown("kind", kind, [*words, PLUGINS])
    registry = load_registry()
    kinds = [] if kind == PLUGINS else [as_kind(kind)] if kind else list(SPEC_TYPES)
    entries = [entry for wanted in kinds for entry in registry.entries(wanted)]
    if as_json:
        echo_json(_document(registry, entries))
        return
    if kind in {None, PLUGINS}:
        points = [(point.distribution, point.version, point.label) for point in registry.plugins()]
        echo_table(["distribution", "version", "entry point"], points, title=f"{PLUGINS} ({len(points)})")
    for at, wanted in enumerate(kinds):
        rows = [(e.name, e.spec.version, e.distribution, e.spec.summary) for e in entries if e.kind == wanted]
        if at or not kind:
            echo()
        echo_table(["name", "version", "distribution", "summary"], rows, title=f"{plural(wanted)} ({len(rows)})")
    if registry.failures:
        broken = [(f.distribution, f.version, f.phase, f.file, f.reason) for f in registry.failures]
        echo()
        echo_table(["distribution", "version", "while", "file", "reason"], broken, title=f"broken ({len(broken)})")
    if registry.remarks:
        told = [(remark.distribution, remark.version, remark.text) for remark in registry.remarks]
        echo()
        echo_table(["distribution", "version", "what it does"], told, title=f"remarks ({len(told)})")


def describe(entry: Registered) -> dict[str, Any]:
    """Return a component's spec and provenance as plain JSON."""
    return {
        "kind": entry.kind,
        **asdict(entry.spec),
        "distribution": entry.distribution,
        "distribution_version": entry.distribution_version,
        "module": entry.module,
        "file": entry.file,
    }


def _document(registry: Registry, entries: list[Registered]) -> dict[str, Any]:
    return {
        "components": [describe(entry) for entry in entries],
        "plugins": [asdict(point) for point in registry.plugins()],
        "conflicts": registry.conflicts(),
        "failures": [asdict(failure) for failure in registry.failures],
        "remarks": [asdict(remark) for remark in registry.remarks],
    }
