"""TL-DMI: only the back of a publicly pre-trained network ever sees private images.

Shapes: B images of a batch, C channels, H = W pixels, F frozen tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mibench.api import Classifier, Defense, SelfCheck, TrainContext, UsageError, WarmStart, unknown
from mibench_defenses.parts.backbone_prefix import trace, weights_before


@dataclass(frozen=True, kw_only=True)
class TransferLearning(Defense):
    """Freeze the front of a publicly pre-trained network; train the rest and the head on private images.

    The front is every weight on which the output of the last frozen stage depends, but never the head. Running
    statistics of its BatchNorm still absorb private images, unless ``freeze_bn_stats``. A random front is no defense.
    Training costs less by the front's backward pass; public pre-training, shared by all cells, is not counted.

    Source: Ho, Koh, Chandrasegaran, Nguyen and Cheung, CVPR 2024; the preset ``paper`` as in AT-AT's code on
    ResNets, ``paper-densenet`` on DenseNets (which value AT-AT used there is not public).

    Attributes:
        freeze_until: last frozen stage, or the path of any other module; empty chooses by share.
        stage_share: share of the named stages that is frozen from the input, rounded down, at least one stage. Used if
            neither ``freeze_until`` nor ``parameter_share`` is set.
        parameter_share: share of all weights that is frozen at least, in whole modules from the input; 0 is off.
        freeze_bn_stats: keep the running statistics of frozen BatchNorm too, and normalise by them in training.
        start: "public" starts from a plain network trained on the public identities (made once, shared by all cells);
            "model" from the weights that the model comes with (``--set model.weights=/path``).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # AT-AT's freeze_layers = 6 counts the children of a network. On ResNets that is the stem and 3 of 4 stages; on
        # DenseNets it ends a stage earlier, behind the second dense block.
        "paper": {"stage_share": 0.75, "freeze_bn_stats": False},
        "paper-densenet": {"freeze_until": "features.denseblock2", "freeze_bn_stats": False},
        "pure": {"stage_share": 0.75, "freeze_bn_stats": True},  # no private statistics in the front; of no paper
        # Chosen on orl64's validation variant, taken over for rendered64: docs/defenses.md.
        "orl64": {"stage_share": 0.25},
        "rendered64": {"stage_share": 0.25},
    }

    freeze_until: str = ""
    stage_share: Annotated[float, Gt(0), Le(1)] = 0.75
    parameter_share: Annotated[float, Ge(0), Lt(1)] = 0.0
    freeze_bn_stats: bool = False
    start: Literal["public", "model"] = "public"

    def __post_init__(self) -> None:
        if self.freeze_until and self.parameter_share:
            raise UsageError("tl-dmi: set freeze_until or parameter_share, not both.")

    def starts_from(self) -> WarmStart | None:
        """Ask for a network trained on the public identities, unless the model brings its own weights."""
        return WarmStart("public") if self.start == "public" else None

    def cost(self) -> float:
        """Return 1 - 2f/3: in the front there is no backward pass (2 of 3 units). f is the share set, 0 if unknown."""
        return 1.0 if self.freeze_until else 1 - 2 * (self.parameter_share or self.stage_share) / 3

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Freeze the front; refuse an unknown stage and an empty front."""
        front = self._front(classifier, trace(classifier, ctx))
        if not front:
            raise UsageError("tl-dmi: there is nothing to freeze up to that stage. Name a later one.")
        for parameter in front:
            parameter.requires_grad_(False)
        ctx.extras["frozen_F"] = _squares(classifier)
        ctx.extras["pretrained"] = torch.tensor(float(self.start == "model" or ctx.start is not None))
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Put frozen BatchNorm into evaluation mode, if its statistics are frozen too; refuse random weights."""
        if ctx.epoch == 0 and self.start == "model" and _looks_untrained(model):
            raise UsageError("tl-dmi: start=model needs trained weights (--set model.weights=/path); these are random.")
        for norm in model.modules() if self.freeze_bn_stats else []:
            if isinstance(norm, _BatchNorm) and norm.affine and not norm.weight.requires_grad:
                norm.eval()

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff it began with trained weights, some of them are frozen, and those have not moved."""
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        share = sum(n for n, trained in sizes if not trained) / sum(n for n, _ in sizes)
        kept, pretrained = torch.equal(ctx.extras["frozen_F"], _squares(model)), bool(ctx.extras["pretrained"])
        signals = {"frozen_share": share, "frozen_kept": float(kept), "pretrained": float(pretrained)}
        start, moved = "trained" if pretrained else "random", "unmoved" if kept else "moved"
        reason = f"{share:.1%} of the weights frozen, {moved} since a {start} start"
        return SelfCheck(share > 0 and kept and pretrained, signals, reason)

    def _front(self, classifier: Classifier, nodes: dict[str, Any]) -> list[nn.Parameter]:
        head = {id(parameter) for parameter in classifier.head.parameters()}
        wanted = self.parameter_share * sum(parameter.numel() for parameter in classifier.parameters())
        ends = list(nodes.values()) if wanted else [nodes[self._last(classifier.stage_names, nodes)]]
        front: list[nn.Parameter] = []
        seen: set[Any] = set()
        while ends and (not wanted or sum(parameter.numel() for parameter in front) < wanted):
            front += [parameter for parameter in weights_before(ends.pop(0), seen) if id(parameter) not in head]
        return front

    def _last(self, stages: list[str], nodes: dict[str, Any]) -> str:
        if not self.freeze_until and not stages:
            raise UsageError("tl-dmi: this network has no named stages. Set freeze_until or parameter_share.")
        last = self.freeze_until or stages[max(1, int(self.stage_share * len(stages))) - 1]
        if last not in nodes:
            raise unknown("stage", last, stages)
        return last


def _squares(model: nn.Module) -> Tensor:
    """Return the float64 sum of squares of each frozen tensor (F,), on the CPU: it stays if none of them moves."""
    frozen = [parameter.detach().double() for parameter in model.parameters() if not parameter.requires_grad]
    return torch.stack([weight.square().sum() for weight in frozen]).cpu() if frozen else torch.zeros(0)


def _looks_untrained(model: nn.Module) -> bool:
    """Tell whether all normalisation is as freshly made; a network without any cannot be told."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm | nn.LayerNorm | nn.GroupNorm)]
    shifts = [shift for norm in norms if (shift := getattr(norm, "running_mean", norm.bias)) is not None]
    return bool(shifts) and not any(bool(shift.ne(0).any()) for shift in shifts)
