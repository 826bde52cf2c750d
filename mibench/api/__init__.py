"""What plugin authors import: specs and hooks (light), contracts and shared parts (loaded on first use).

``from mibench.api import DefenseSpec, hookimpl`` imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mibench.api.errors import (
    AccessError,
    BudgetError,
    ClassFailed,
    DataError,
    MibenchError,
    PluginError,
    StoreError,
    UsageError,
)
from mibench.api.hookspecs import hookimpl
from mibench.api.specs import (
    API_VERSION,
    AttackSpec,
    Column,
    DatasetSpec,
    DefenseSpec,
    ExecutorSpec,
    ImporterSpec,
    MetricSpec,
    ModelSpec,
    PriorSpec,
    ProtocolSpec,
    Spec,
)

if TYPE_CHECKING:
    from mibench.api.attack import Attack, AttackContext, ClassResult, run_attack
    from mibench.api.classifier import Classifier, Embedder, Model, Outputs, evaluating, freeze, load_backbone
    from mibench.api.data import Dataset, ImageSet, TensorImages
    from mibench.api.defense import Defense, SelfCheck, Step, TrainContext, Transform, WarmStart, loss_of
    from mibench.api.images import check_images, from_uint8, resize, to_rgb, to_uint8
    from mibench.api.importer import Imported, Importer
    from mibench.api.metric import Measurement, Metric, MetricContext, MetricInputs, class_means
    from mibench.api.params import FlatNames, InferenceOnly, InputFile, OmitIfDefault
    from mibench.api.perturb import batchnorm_policy, other_class, pgd, without_weight_gradients
    from mibench.api.precision import full_precision
    from mibench.api.prior import BlockState, GuidedPriorModel, Prior, PriorModel, PriorTrainer
    from mibench.api.rng import derive_seed, generator, seeded
    from mibench.api.target import Access, Budget, Ledger, TargetView

_LAZY = {
    "attack": ["Attack", "AttackContext", "ClassResult", "run_attack"],
    "classifier": ["Classifier", "Embedder", "Model", "Outputs", "evaluating", "freeze", "load_backbone"],
    "data": ["Dataset", "ImageSet", "TensorImages"],
    "defense": ["Defense", "SelfCheck", "WarmStart", "Step", "TrainContext", "Transform", "loss_of"],
    "images": ["check_images", "from_uint8", "resize", "to_rgb", "to_uint8"],
    "importer": ["Imported", "Importer"],
    "metric": ["MetricInputs", "Measurement", "Metric", "MetricContext", "class_means"],
    "perturb": ["batchnorm_policy", "other_class", "pgd", "without_weight_gradients"],
    "precision": ["full_precision"],
    "params": ["FlatNames", "OmitIfDefault", "InferenceOnly", "InputFile"],
    "prior": ["BlockState", "GuidedPriorModel", "Prior", "PriorModel", "PriorTrainer"],
    "rng": ["derive_seed", "generator", "seeded"],
    "target": ["Access", "Budget", "Ledger", "TargetView"],
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "API_VERSION",
    "Access",
    "AccessError",
    "OmitIfDefault",
    "Attack",
    "AttackContext",
    "AttackSpec",
    "Budget",
    "BudgetError",
    "BlockState",
    "ClassFailed",
    "ClassResult",
    "Classifier",
    "Column",
    "DataError",
    "Dataset",
    "DatasetSpec",
    "Defense",
    "DefenseSpec",
    "InferenceOnly",
    "Embedder",
    "MetricInputs",
    "ExecutorSpec",
    "FlatNames",
    "GuidedPriorModel",
    "ImageSet",
    "Imported",
    "Importer",
    "ImporterSpec",
    "InputFile",
    "Ledger",
    "Measurement",
    "Metric",
    "MetricContext",
    "MetricSpec",
    "MibenchError",
    "Model",
    "ModelSpec",
    "Outputs",
    "PluginError",
    "Prior",
    "PriorModel",
    "PriorSpec",
    "PriorTrainer",
    "ProtocolSpec",
    "SelfCheck",
    "Spec",
    "WarmStart",
    "Step",
    "StoreError",
    "TargetView",
    "TensorImages",
    "TrainContext",
    "Transform",
    "UsageError",
    "batchnorm_policy",
    "check_images",
    "class_means",
    "derive_seed",
    "evaluating",
    "freeze",
    "from_uint8",
    "full_precision",
    "generator",
    "hookimpl",
    "load_backbone",
    "loss_of",
    "other_class",
    "pgd",
    "resize",
    "run_attack",
    "seeded",
    "to_rgb",
    "to_uint8",
    "without_weight_gradients",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mibench.api.{_MODULE_OF[name]}"), name)
