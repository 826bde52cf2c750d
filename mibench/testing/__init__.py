"""Contract suites and a tiny world for plugin authors.

Subclass the contract of your kind of component in a test module and name the component; pytest does the rest::

    from mibench.testing import DefenseContract
    from my_plugin.defense import MyDefense

    class TestMyDefense(DefenseContract):
        component = MyDefense

``run_checks`` runs the same checks without pytest. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mibench.testing.attack import AttackContract
    from mibench.testing.component import ComponentContract
    from mibench.testing.dataset import DatasetContract
    from mibench.testing.defense import DefenseContract
    from mibench.testing.embedder import EmbedderContract
    from mibench.testing.executor import ExecutorContract
    from mibench.testing.importer import ImporterContract
    from mibench.testing.metric import MetricContract
    from mibench.testing.model import ModelContract
    from mibench.testing.prior import PriorContract
    from mibench.testing.runner import Outcome, contract_for, run_checks
    from mibench.testing.study import StudyContract, made_up_number
    from mibench.testing.tiny_parts import TinyEmbedder, TinyPrior
    from mibench.testing.tiny_world import TinyWorld
    from mibench.testing.training import Trained, train_steps

_MODULE_OF = {
    "AttackContract": "attack",
    "ComponentContract": "component",
    "DatasetContract": "dataset",
    "DefenseContract": "defense",
    "EmbedderContract": "embedder",
    "ExecutorContract": "executor",
    "ImporterContract": "importer",
    "MetricContract": "metric",
    "ModelContract": "model",
    "Outcome": "runner",
    "PriorContract": "prior",
    "StudyContract": "study",
    "TinyEmbedder": "tiny_parts",
    "TinyPrior": "tiny_parts",
    "TinyWorld": "tiny_world",
    "Trained": "training",
    "contract_for": "runner",
    "made_up_number": "study",
    "run_checks": "runner",
    "train_steps": "training",
}

__all__ = [
    "AttackContract",
    "ComponentContract",
    "DatasetContract",
    "DefenseContract",
    "EmbedderContract",
    "ExecutorContract",
    "ImporterContract",
    "MetricContract",
    "ModelContract",
    "Outcome",
    "PriorContract",
    "StudyContract",
    "TinyEmbedder",
    "TinyPrior",
    "TinyWorld",
    "Trained",
    "contract_for",
    "made_up_number",
    "run_checks",
    "train_steps",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mibench.testing.{_MODULE_OF[name]}"), name)
