"""Boards on disk to make sites of. Import with ``from site_factory import write_board`` (see tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record_factory import CLASSES, PROTOCOL_TEXT, component, make_record, metric

from mibench.results.intervals import metric_value
from mibench.results.io import save_record
from mibench.results.record import MetricValue, Record
from mibench.site import Library, Method
from mibench.site.build import Settings

SETTINGS = Settings("2026-11-29", "https://boards.example/")
PAPER = "@article{some2020one,\n  title = {Some defense, {\\%} of it}\n}\n"
FAMILIES = {"atat": "adversarial", "negls": "gradient", "bido": "dependency", "mid": "dependency", "none": "none"}
LIBRARY: Library = {
    ("defense", name): Method("defense", name, f"the defense {name}", PAPER, family, "white-box", ("It is slow.",))
    for name, family in FAMILIES.items()
}
LEVELS = {"atat": 0.1, "negls": 0.3, "bido": 0.32, "mid": 0.45, "none": 0.7}


def people_values(level: float, seed: int, spread: float = 0.15) -> MetricValue:
    """Return a leakage whose people differ as people do: the same ones are hard everywhere."""
    hard = np.random.default_rng(7).normal(0, spread, CLASSES)
    own = np.random.default_rng([seed, round(level * 1000)]).normal(0, spread / 2, CLASSES)
    values = np.clip(level + hard + own, 0, 1)
    row = {"value": float(values.mean()), "n": 48, "unit": "fraction", "higher_is_better": False}
    return metric_value({**row, "per_class": values.tolist(), "details": {"ranks": [0, 1, 3, 0] * 12}}, "leakage")


def cell(defense: str, seed: int = 0, *, level: float | None = None, **changes: Any) -> Record:
    """Return a record of a defense whose leakage is near its level."""
    metrics = {"reid@1": people_values(LEVELS[defense] if level is None else level, seed), **changes.pop("metrics", {})}
    metrics["accuracy"] = metric(1 - 0.2 * (1 - (LEVELS.get(defense, 0.5))), group="utility", up=True, n=24)
    parts = {"access": "white-box"}
    record = make_record(defense=defense, seed=seed, metrics=metrics, **changes)
    held = {**record.components, "defense": record.components["defense"].model_copy(update=parts),
            "attack": record.components["attack"].model_copy(update=parts)}  # fmt: skip
    return record.model_copy(update={"components": held})


def records() -> list[Record]:
    """Return three seeds of five defenses; one of them has met a second attack."""
    found = [cell(defense, seed) for defense in LEVELS for seed in (0, 1, 2)]
    return [*found, *(cell("atat", seed, level=0.12, attack="ppa/ce") for seed in (0, 1))]


def write_board(root: Path, entries: Iterable[Record], text: str = PROTOCOL_TEXT) -> Path:
    """Write a leaderboards folder with one board, without asking any rule."""
    home = root / "tiny" / "1.0"
    home.mkdir(parents=True, exist_ok=True)
    (home / "protocol.yaml").write_text(text, encoding="utf-8")
    for record in entries:
        save_record(record, home / "entries" / record.cell.defense)
    return root


HOSTILE: Sequence[str] = (
    "<script>window.hit=1</script>",
    "\"'><img src=x onerror=window.hit=1>",
    "</script><script>window.hit=1</script>",
    "javascript:window.hit=1",
    "\u202egnp.exe\u2066 \u0000 {{7*7}} {% raw %} \u2028 &amp;",
    "x" * 10_000,
)


def hostile_records() -> list[Record]:
    """Return records with scripts, marks that turn text around and endless words in every free field."""
    bad = "".join(HOSTILE[:5])
    changes: Mapping[str, Any] = {
        "self_check": {"active": True, "reason": bad},
        "environment": {"device": bad, "platform": HOSTILE[5], "packages": {bad: bad}},
        "command": f"mibench run {bad} {HOSTILE[5]}",
    }
    made = [cell("none", seed, **changes) for seed in (0, 1, 2)]
    parts = {
        role: part.model_copy(
            update={"licence": bad, "distribution": bad, "version": bad, "params": {bad: HOSTILE[5]}, "access": bad}
        )
        for role, part in made[0].components.items()
    }
    hostile = made[0].model_copy(update={"components": parts})
    named = cell("none", 0, **changes)
    names = {"defense": "<img src=x onerror=window.hit=1>", "attack": '"><script>window.hit=1<', "model": "a\u202eb<b>"}
    own = {**named.components, "defense": component("defense", names["defense"], **{bad: bad})}
    odd = named.model_copy(update={"cell": named.cell.model_copy(update=names), "components": own})
    return [hostile, *made[1:], odd]
