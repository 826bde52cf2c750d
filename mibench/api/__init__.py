"""What plugin authors import: specs and hooks (light), contracts and shared parts, each loaded on first use.

``from mibench.api import DefenseSpec, hookimpl`` imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mibench.api.deprecated import current_name

if TYPE_CHECKING:  # `as` says that a name is meant to be imported from here
    # isort: off
    from mibench.api.attack import (
        Attack as Attack,
        AttackContext as AttackContext,
        ClassResult as ClassResult,
        run_attack as run_attack,
    )
    from mibench.api.classifier import (
        Classifier as Classifier,
        Embedder as Embedder,
        Model as Model,
        Outputs as Outputs,
        evaluating as evaluating,
        freeze as freeze,
        load_backbone as load_backbone,
    )
    from mibench.api.columns import Column as Column, MetricFlag as MetricFlag
    from mibench.api.copies import (
        PARTS as PARTS,
        CopiedImage as CopiedImage,
        Copy as Copy,
        FileNote as FileNote,
        copy_file as copy_file,
        read_copy as read_copy,
    )
    from mibench.api.data import (
        Dataset as Dataset,
        GroundTruth as GroundTruth,
        ImageSet as ImageSet,
        IndexedImages as IndexedImages,
        TensorImages as TensorImages,
        Told as Told,
    )
    from mibench.api.defense import (
        Defense as Defense,
        SelfCheck as SelfCheck,
        Step as Step,
        TrainContext as TrainContext,
        Transform as Transform,
        WarmStart as WarmStart,
        loss_of as loss_of,
    )
    from mibench.api.errors import (
        AccessError as AccessError,
        BudgetError as BudgetError,
        ClassFailed as ClassFailed,
        DataError as DataError,
        MibenchError as MibenchError,
        PluginError as PluginError,
        StoreError as StoreError,
        UsageError as UsageError,
        unknown as unknown,
    )
    from mibench.api.files import sha256_of_file as sha256_of_file
    from mibench.api.hookspecs import hookimpl as hookimpl
    from mibench.api.images import (
        check_images as check_images,
        from_uint8 as from_uint8,
        resize as resize,
        to_rgb as to_rgb,
        to_uint8 as to_uint8,
    )
    from mibench.api.importer import Imported as Imported, Importer as Importer
    from mibench.api.metric import (
        IdentityGallery as IdentityGallery,
        Measurement as Measurement,
        Metric as Metric,
        MetricContext as MetricContext,
        MetricInputs as MetricInputs,
        Need as Need,
        Subject as Subject,
        class_means as class_means,
    )
    from mibench.api.params import (
        FlatNames as FlatNames,
        InferenceOnly as InferenceOnly,
        InputFile as InputFile,
        OmitIfDefault as OmitIfDefault,
        build as build,
        replaced as replaced,
    )
    from mibench.api.perturb import (
        BatchNormPolicy as BatchNormPolicy,
        Norm as Norm,
        batchnorm_policy as batchnorm_policy,
        other_class as other_class,
        pgd as pgd,
        without_weight_gradients as without_weight_gradients,
    )
    from mibench.api.precision import full_precision as full_precision
    from mibench.api.prior import (
        BlockState as BlockState,
        GuidedPriorModel as GuidedPriorModel,
        Prior as Prior,
        PriorModel as PriorModel,
        PriorTrainer as PriorTrainer,
        given as given,
    )
    from mibench.api.prior_view import metered as metered, renders as renders
    from mibench.api.quantity import Quantity as Quantity, Role as Role
    from mibench.api.rng import (
        SeedPart as SeedPart,
        derive_seed as derive_seed,
        generator as generator,
        seeded as seeded,
    )
    from mibench.api.specs import (
        API_VERSION as API_VERSION,
        AttackSpec as AttackSpec,
        DatasetSpec as DatasetSpec,
        DefenseSpec as DefenseSpec,
        ExecutorSpec as ExecutorSpec,
        ImporterSpec as ImporterSpec,
        MetricSpec as MetricSpec,
        ModelSpec as ModelSpec,
        PriorSpec as PriorSpec,
        ProtocolSpec as ProtocolSpec,
        Spec as Spec,
    )
    from mibench.api.target import Access as Access, Budget as Budget, Ledger as Ledger, TargetView as TargetView
    from mibench.api.weights import (
        is_state as is_state,
        read_plain as read_plain,
        read_state as read_state,
        unreadable as unreadable,
    )
    # isort: on

_NAMES = {
    "attack": "Attack AttackContext ClassResult run_attack",
    "classifier": "Classifier Embedder Model Outputs evaluating freeze load_backbone",
    "columns": "Column MetricFlag",
    "copies": "PARTS CopiedImage Copy FileNote copy_file read_copy",
    "data": "Dataset GroundTruth ImageSet IndexedImages TensorImages Told",
    "defense": "Defense SelfCheck Step TrainContext Transform WarmStart loss_of",
    "errors": "AccessError BudgetError ClassFailed DataError MibenchError PluginError StoreError UsageError unknown",
    "files": "sha256_of_file",
    "hookspecs": "hookimpl",
    "images": "check_images from_uint8 resize to_rgb to_uint8",
    "importer": "Imported Importer",
    "metric": "IdentityGallery Measurement Metric MetricContext MetricInputs Need Subject class_means",
    "params": "FlatNames InferenceOnly InputFile OmitIfDefault build replaced",
    "perturb": "BatchNormPolicy Norm batchnorm_policy other_class pgd without_weight_gradients",
    "precision": "full_precision",
    "prior": "BlockState GuidedPriorModel Prior PriorModel PriorTrainer given",
    "prior_view": "metered renders",
    "quantity": "Quantity Role",
    "rng": "SeedPart derive_seed generator seeded",
    "specs": "API_VERSION AttackSpec DatasetSpec DefenseSpec ExecutorSpec ImporterSpec MetricSpec ModelSpec PriorSpec"
    " ProtocolSpec Spec",
    "target": "Access Budget Ledger TargetView",
    "weights": "is_state read_plain read_state unreadable",
}
"""What each module offers. The block above says the same to type checkers; a test holds them equal."""

_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


if not TYPE_CHECKING:  # else type checkers take any name for one that exists

    def __getattr__(name: str) -> Any:
        name = current_name(name) or name
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"mibench.api.{_MODULE_OF[name]}"), name)
