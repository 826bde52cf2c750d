"""Valid records to start tests from. Import with ``from record_factory import make_record`` (see tests/conftest.py)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mibench.base.canonical import digest
from mibench.protocol.load import parse_protocol
from mibench.results.flags import compute_flags
from mibench.results.intervals import metric_value
from mibench.results.io import seal
from mibench.results.normalize import record_leakage
from mibench.results.record import CellRef, ComponentRef, MetricValue, ProtocolRef, Record
from mibench.results.reports import EnvironmentReport, LedgerReport, SelfCheckReport

CLASSES = 12
INPUTS = ("data", "prior", "target", "reconstructions", "evaluator:net")
PROTOCOL_TEXT = """
name: tiny
version: "1.0"
summary: a protocol for tests
dataset: {name: tiny-data}
image: {size: 16, channels: 1}
split: {private: 12, public: 4, train: 4, val: 1, test: 2}
model: {name: smallcnn}
recipe: {epochs: 1, batch: 8}
prior: {name: pca}
evaluators: []
embedder: {name: judge}
attacks:
  ppa: {name: ppa, params: {steps: 5}}
priors:
  gan: {name: gan, params: {width: 8}}
undefended: {name: none}
floor: {name: random}
metrics: [{name: accuracy}]
headline: reid@1
seeds: [0, 1, 2]
"""


REPORTS: dict[str, type[BaseModel]] = {
    "self_check": SelfCheckReport,
    "ledger": LedgerReport,
    "environment": EnvironmentReport,
}


def protocol_text(*, version: str = "1.0", **settings: Any) -> str:
    """Return the YAML of a small protocol, with top-level values replaced."""
    text = PROTOCOL_TEXT.replace('version: "1.0"', f'version: "{version}"')
    for key, value in settings.items():
        lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in text.splitlines()]
        text = "\n".join(lines) + "\n"
    return text


def metric(
    value: float,
    *,
    group: str = "leakage",
    n: int = 48,
    up: bool = False,
    unit: str = "fraction",
    classes: int = CLASSES,
    **details: Any,
) -> MetricValue:
    """Return a metric whose per-class values spread a little around its value."""
    step = min(0.02, value / classes, (1 - value) / classes) if unit == "fraction" else 0.02
    per_class = [value + step * (place - (classes - 1) / 2) for place in range(classes)]
    row = {"value": value, "n": n, "unit": unit, "higher_is_better": up, "per_class": per_class, "details": details}
    return metric_value(row, group)


def component(kind: str, name: str, **params: Any) -> ComponentRef:
    """Return a component of the distribution ``mibench-tests``."""
    return ComponentRef(
        kind=kind,
        name=name,
        distribution="mibench-tests",
        distribution_version="1.0",
        version="1",
        params=params,
        source_digest=digest(name),
    )


def judged(n: int) -> dict[str, MetricValue]:
    """Return what an evaluator says about ``n`` images."""
    return {"attack_acc@1/net": metric(0.6, n=n), "attack_acc@5/net": metric(0.8, n=n)}


def leak_of(metrics: dict[str, MetricValue]) -> dict[str, MetricValue]:
    """Return the leakage columns among metrics."""
    return {name: value for name, value in metrics.items() if value.group == "leakage"}


def ledger(forward: int, backward: int, **more: Any) -> dict[str, Any]:
    """Return what an attack spent, half of it shared by the classes; totals are as near as whole numbers allow."""
    shared = {"forward": forward // 2, "backward": backward // 2, "render": 0}
    each = {name: spent // CLASSES for name, spent in shared.items()}
    return {
        "shared": shared,
        "per_class": {str(label): each for label in range(CLASSES)},
        "total": {name: shared[name] + CLASSES * each[name] for name in shared},
        "budget": {"forward": None, "backward": None},
        "trace": {"loss_first": 3.0, "loss_last": 0.5},
        **more,
    }


def make_record(
    *,
    defense: str = "atat",
    attack: str = "ppa",
    seed: int = 0,
    leakage: float = 0.3,
    model: str = "smallcnn",
    params: dict[str, Any] | None = None,
    text: str = PROTOCOL_TEXT,
    metrics: dict[str, MetricValue] | None = None,
    key: str | None = None,
    **changes: Any,
) -> Record:
    """Return a sealed record that every board rule accepts.

    Args:
        defense: name.
        attack: name, or ``name/preset``.
        seed: target seed.
        leakage: ``reid@1`` of the cell.
        model: architecture.
        params: of the defense.
        text: the protocol's YAML.
        metrics: metrics to add or replace.
        key: cell key; derived from the other arguments by default.
        **changes: fields of the record to replace (reports as plain JSON); the record is sealed after that.
    """
    loaded = parse_protocol(text)
    command = f"mibench run --defense {defense} --attack {attack}"
    attack, _, preset = attack.partition("/")
    params = {"lam": 0.08} if params is None else params
    plain = defense == loaded.protocol.undefended.name
    leak = {"reid@1": metric(leakage), "reid@5": metric(min(1, leakage + 0.2)), **judged(48)}
    own = {"accuracy": metric(0.95, group="utility", up=True, n=24), **leak}
    for times_255, value in (("0.5", 0.8), ("2", 0.4)):
        details = {"eps": float(times_255) / 255, "clean_accuracy": 0.95}
        own[f"robust_acc@{times_255}"] = metric(value, group="robustness", up=True, n=24, **details)
    own |= metrics or {}
    record = Record(
        protocol=ProtocolRef(
            name=loaded.protocol.name,
            version=loaded.protocol.version,
            digest=loaded.digest,
            variant="test",
            headline=loaded.protocol.headline,
        ),
        cell=CellRef(
            model=model, defense=defense, attack=attack, attack_preset=preset or None, seed=seed, key="0" * 64
        ),
        components={
            "model": component("model", model),
            "defense": component("defense", defense, **params),
            "attack": component("attack", attack, steps=5).model_copy(update={"preset": preset or None}),
            "dataset": component("dataset", "tiny-data"),
            "prior": component("prior", "pca"),
            "embedder": component("model", "judge"),
            "metric:accuracy": component("metric", "accuracy"),
        },
        classes={str(label): label for label in range(CLASSES)},
        inputs={role: digest(f"{role} of {defense} {seed}") for role in INPUTS},
        metrics=own,
        controls={
            "gold": {**judged(24), "reid@1": metric(0.9, n=24), "reid@5": metric(1.0, n=24)},
            "floor": {**leak, "reid@1": metric(0.1), "reid@5": metric(0.3)},
            "undefended": leak_of(own) if plain else {**leak, "reid@1": metric(0.6), "reid@5": metric(0.7)},
        },
        self_check=SelfCheckReport(active=True, signals={"targeted_success": 0.99}),
        ledger=LedgerReport.model_validate(ledger(1000, 500)),
        environment=EnvironmentReport(packages={"torch": "2.11.0"}, device="cpu"),
        command=command,
        timings={"target": 1.5},
    )
    changes = {
        name: REPORTS[name].model_validate(value) if name in REPORTS else value for name, value in changes.items()
    }
    own_key = key or seal(record).digest
    record = record.model_copy(update={"cell": record.cell.model_copy(update={"key": own_key})})
    record = record.model_copy(update={"normalized_leakage": record_leakage(record), **changes})
    return seal(record.model_copy(update={"flags": record.flags or compute_flags(record)}))
