"""The tiny world as a plugin: a component of each kind, so that plans, stages and executors have something to run.

Not announced to anybody: contracts put it into registries of their own, and light enough to be listed in workers.
"""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec, PriorSpec, hookimpl

_WHERE = "mibench.testing.tiny_components"


@hookimpl
def mibench_datasets() -> Iterable[DatasetSpec]:
    """Return the dataset."""
    yield DatasetSpec(name="tiny-faces", factory=f"{_WHERE}:TinyFaces", summary="smooth patterns under disturbances")


@hookimpl
def mibench_models() -> Iterable[ModelSpec]:
    """Return the classifier and the embedder."""
    yield ModelSpec(name="tiny-net", factory=f"{_WHERE}:TinyNet", summary="two convolutional blocks")
    yield ModelSpec(name="tiny-eye", factory=f"{_WHERE}:TinyEye", summary="coarse colours", role="embedder")


@hookimpl
def mibench_priors() -> Iterable[PriorSpec]:
    """Return the prior."""
    yield PriorSpec(name="tiny-patterns", factory=f"{_WHERE}:TinyPatterns", summary="a linear prior")


@hookimpl
def mibench_defenses() -> Iterable[DefenseSpec]:
    """Return plain training, and one that fails."""
    yield DefenseSpec(name="tiny-plain", factory=f"{_WHERE}:TinyPlain", summary="plain training")
    yield DefenseSpec(name="tiny-failing", factory=f"{_WHERE}:TinyFailing", summary="raises in its first step")


@hookimpl
def mibench_attacks() -> Iterable[AttackSpec]:
    """Return an attack that looks once."""
    yield AttackSpec(
        name="tiny-choice", factory=f"{_WHERE}:TinyChoice", summary="samples that the target likes", access="scores"
    )


@hookimpl
def mibench_metrics() -> Iterable[MetricSpec]:
    """Return one metric of reconstructions that asks an embedder."""
    yield MetricSpec(name="tiny-near", factory=f"{_WHERE}:TinyNear", summary="cosine to the nearest training image")
