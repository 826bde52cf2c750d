"""The hooks that plugins implement. Collect hooks return specs; life-cycle hooks watch a run and never change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from mibench.api.specs import (
    AttackSpec,
    DatasetSpec,
    DefenseSpec,
    ExecutorSpec,
    ImporterSpec,
    MetricSpec,
    ModelSpec,
    PriorSpec,
    ProtocolSpec,
    StudySpec,
)

PROJECT = "mibench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class CollectHooks:
    """Hooks that tell what a plugin provides. Each returns an iterable of specs and imports nothing heavy."""

    @hookspec
    def mibench_datasets(self) -> Iterable[DatasetSpec]:
        """Return the datasets of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_models(self) -> Iterable[ModelSpec]:
        """Return the classifier architectures and embedders of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_priors(self) -> Iterable[PriorSpec]:
        """Return the image priors (generators) of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_defenses(self) -> Iterable[DefenseSpec]:
        """Return the defenses of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_attacks(self) -> Iterable[AttackSpec]:
        """Return the attacks of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_metrics(self) -> Iterable[MetricSpec]:
        """Return the metrics of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_executors(self) -> Iterable[ExecutorSpec]:
        """Return the executors of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_protocols(self) -> Iterable[ProtocolSpec]:
        """Return the frozen protocols of this plugin."""
        raise NotImplementedError

    @hookspec
    def mibench_importers(self) -> Iterable[ImporterSpec]:
        """Return the importers of this plugin; one called NAME is the command ``mibench data import-NAME FILE``."""
        raise NotImplementedError

    @hookspec
    def mibench_studies(self) -> Iterable[StudySpec]:
        """Return the studies of this plugin; one called NAME is run by ``mibench study run NAME``."""
        raise NotImplementedError

    @hookspec
    def mibench_artifacts(self) -> Iterable[str]:
        """Return folders (``"package:folder"``) with ready-made artifacts, which the store reads as a lower layer."""
        raise NotImplementedError


class LifecycleHooks:
    """Hooks called while a plan runs. ``node`` is ``{"id", "stage", "key", "label"}``. Exceptions are contained."""

    @hookspec
    def mibench_stage_started(self, node: Mapping[str, str]) -> None:
        """A stage begins."""

    @hookspec
    def mibench_stage_progress(
        self, node: Mapping[str, str], done: int, total: int, unit: str, signals: Mapping[str, float]
    ) -> None:
        """A stage has finished ``done`` of ``total`` units."""

    @hookspec
    def mibench_stage_finished(self, node: Mapping[str, str], seconds: float) -> None:
        """A stage has committed its artifact."""

    @hookspec
    def mibench_stage_failed(self, node: Mapping[str, str], error: str) -> None:
        """A stage has failed; what depends on it will be skipped."""
