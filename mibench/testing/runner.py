"""Runs a contract without pytest, for ``mibench plugins check``."""

from __future__ import annotations

import importlib
import inspect
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from unittest import SkipTest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from mibench.api.columns import Column
    from mibench.testing.component import Contract

_CONTRACTS = {
    "attack": "AttackContract",
    "dataset": "DatasetContract",
    "defense": "DefenseContract",
    "embedder": "EmbedderContract",
    "executor": "ExecutorContract",
    "importer": "ImporterContract",
    "metric": "MetricContract",
    "model": "ModelContract",
    "prior": "PriorContract",
    "study": "StudyContract",
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        check: its name without ``test_``, e.g. ``"same_seed_same_weights"``.
        verdict: a check that does not apply is skipped; one that raises anything but an assertion is an error.
        meaning: what it checks, one sentence.
        message: why it failed or was skipped; empty if it passed.
    """

    check: str
    verdict: Literal["passed", "failed", "skipped", "error"]
    meaning: str
    message: str = ""


def contract_for(
    kind: str, component: type, settings: Mapping[str, Any] | None = None, *, columns: Sequence[Column] = ()
) -> type[Contract]:
    """Return the contract of a kind, bound to a component.

    Args:
        kind: "attack", "dataset", "defense", "embedder", "executor", "importer", "metric", "model", "prior" or "study";
            an embedder is also found as the model that its plugin announces.
        component: the component class.
        settings: parameters that differ from its defaults.
        columns: of a metric, what its spec announces.

    Raises:
        KeyError: for a kind without a contract.
    """
    kind = "embedder" if kind == "model" and hasattr(component, "embed") else kind
    name = _CONTRACTS[kind]
    base = getattr(importlib.import_module(f"mibench.testing.{kind}"), name)
    told = {"columns": columns} if kind == "metric" else {}
    return type(f"Test{component.__name__}", (base,), {"component": component, "settings": settings or {}, **told})


def run_checks(contract: type[Contract]) -> Iterator[Outcome]:
    """Run every check of a contract, each on a fresh instance, and yield the outcomes in order of definition."""
    names = [name for cls in reversed(contract.__mro__) for name in vars(cls) if name.startswith("test_")]
    for name in dict.fromkeys(names):
        yield _run(contract, name)


def _run(contract: type[Contract], name: str) -> Outcome:
    check, meaning = name.removeprefix("test_"), inspect.getdoc(getattr(contract, name)) or ""
    try:
        getattr(contract(), name)()
    except SkipTest as reason:
        return Outcome(check, "skipped", meaning, str(reason))
    except AssertionError as error:
        return Outcome(check, "failed", meaning, str(error))
    except (Exception, SystemExit):  # a check that breaks is a finding about the component, not about the run
        return Outcome(check, "error", meaning, traceback.format_exc(limit=-3))
    return Outcome(check, "passed", meaning)
