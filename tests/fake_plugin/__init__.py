"""A plugin for tests: every kind of component, each done in milliseconds on 16-pixel synthetic images.

``registry()`` offers it without an installation; ``install()`` leaves what pip would leave, for worker processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mibench.api import (
    AttackSpec,
    DatasetSpec,
    DefenseSpec,
    MetricSpec,
    ModelSpec,
    PriorSpec,
    ProtocolSpec,
    Spec,
    StudySpec,
    hookimpl,
)

HERE = Path(__file__).parent
PROTOCOL = HERE / "toy.yaml"


def registry():
    """Return a registry of this plugin and the core's executors."""
    import fake_plugin
    import mibench.execute.plugin
    from mibench.registry.registry import Registry

    return Registry.from_modules(fake_plugin, mibench.execute.plugin)


def install(site: Path) -> str:
    """Announce this plugin as a distribution in ``site`` and return the ``PYTHONPATH`` under which it is found."""
    info = site / "fake_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mibench]\nplugin = fake_plugin\n")
    return f"{site}:{HERE.parent}"


def _spec(kind: type[Spec], name: str, attribute: str, **more: object) -> Spec:
    return kind(name=name, factory=f"fake_plugin.parts:{attribute}", summary="for tests", **more)


@hookimpl
def mibench_datasets() -> Iterable[DatasetSpec]:
    yield _spec(DatasetSpec, "blobs", "Blobs", reconstructions="publish", terms="patterns of nobody")
    yield _spec(DatasetSpec, "other-blobs", "Blobs")


@hookimpl
def mibench_models() -> Iterable[ModelSpec]:
    yield _spec(ModelSpec, "tiny", "Tiny")
    yield _spec(ModelSpec, "filed", "Filed")
    yield _spec(ModelSpec, "trap", "Trap")
    yield _spec(ModelSpec, "coarse", "Coarse", role="embedder")
    yield _spec(ModelSpec, "trap-eye", "TrapEye", role="embedder")


@hookimpl
def mibench_priors() -> Iterable[PriorSpec]:
    yield _spec(PriorSpec, "linear", "Linear")
    yield _spec(PriorSpec, "guided", "Guided")


@hookimpl
def mibench_defenses() -> Iterable[DefenseSpec]:
    yield _spec(DefenseSpec, "plain", "Plain")
    yield _spec(DefenseSpec, "noisy", "Noisy")
    yield _spec(DefenseSpec, "warm", "Warm")
    yield _spec(DefenseSpec, "staged", "Staged")
    yield _spec(DefenseSpec, "flipped", "Flipped", threat_model="black-box", family="output")
    yield _spec(DefenseSpec, "broken", "Broken")
    yield _spec(DefenseSpec, "diverging", "Diverging")
    yield _spec(DefenseSpec, "deadly", "Deadly")
    yield _spec(DefenseSpec, "busy", "Busy")
    yield _spec(DefenseSpec, "quitting", "Quitting")


@hookimpl
def mibench_attacks() -> Iterable[AttackSpec]:
    yield _spec(AttackSpec, "guess", "Guess")
    yield _spec(AttackSpec, "grouped", "Grouped")
    yield _spec(AttackSpec, "reader", "Reader")
    yield _spec(AttackSpec, "pool", "Pool", baseline=True)
    yield _spec(AttackSpec, "picky", "Picky")


@hookimpl
def mibench_metrics() -> Iterable[MetricSpec]:
    yield _spec(MetricSpec, "hits", "Hits", group="utility")
    yield _spec(MetricSpec, "match", "Match")
    yield _spec(MetricSpec, "light", "Light")
    yield _spec(MetricSpec, "found", "Found")


@hookimpl
def mibench_studies() -> Iterable[StudySpec]:
    yield _spec(StudySpec, "lottery", "Lottery")


@hookimpl
def mibench_protocols() -> Iterable[ProtocolSpec]:
    yield _spec(ProtocolSpec, "toy", "HERE", version="1.0", file="fake_plugin:toy.yaml")
    yield _spec(ProtocolSpec, "other", "HERE", version="1.0", file="fake_plugin:other.yaml")
    yield _spec(ProtocolSpec, "referee", "HERE", version="1.0", file="fake_plugin:referee.yaml", trial=True)
