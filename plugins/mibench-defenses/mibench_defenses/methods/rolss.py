"""RoLSS, SSF and TTS: weaker residual connections, above all in the last stage.

Shapes: C channels of a feature map.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le, Lt

from mibench.api import Classifier, Defense, OmitIfDefault, SelfCheck, TrainContext, UsageError
from mibench_defenses.parts.narrow import narrow_densenet
from mibench_defenses.parts.skips import DENSE_BLOCK, RESNETS, has_skip, install, skips_of

Scale = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class WeakSkips(Defense):
    """Residual blocks compute F(x) + s * skip(x); s = 0 removes the skip, s = 1 is the plain network.

    By default s = ``scale`` in the last stage that has skips and 1 elsewhere, as the paper's text has it. Its released
    code, and AT-AT's, also removes the skips of the last fifth of stage 3 of every ResNet (``stage3_tail``): published
    numbers on ResNets are of that network, the presets with ``compat``.

    A DenseNet layer's feature map keeps only its first round(s * C) channels in the concatenations after the next
    layer. The released code builds all later layers as narrow as that leaves them (``narrow``); a transition halves the
    narrowed count, so the network is a smaller one: 11.7 M weights before the head in place of 12.5 M for DenseNet-169,
    5.2 M in place of 7.0 M for DenseNet-121. Without ``narrow`` the channels become 0 in a network of the plain names
    and shapes, a larger class of functions, which pre-trained weights fit.

    Weights that were trained with skips do not work without them at first, so a pre-trained network wants a lower
    learning rate.

    Source: Koh, Ho, Nguyen and Cheung, ECCV 2024; the schedule of its two-stage training (TTS) is not published.

    Attributes:
        scale: scale s of the last stage (RoLSS: 0, SSF: between 0 and 1).
        scales: scale of every stage, or of every block that has a skip; if set, ``scale`` is not used.
        mode: which skips of ViT blocks are scaled: both, or the one around attention or MLP.
        stage3_tail: as in the released ResNet code, blocks from int(0.8 n) on of the n in stage 3 lose their skip too.
        narrow: as in the released DenseNet code, build layers as narrow as their inputs; for random weights only.
        with_skips: share of the epochs, rounded down, that trains with whole skips first (TTS); 0 is off.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The paper's text, which no released code runs on a ResNet. Scales as configured for SSF by AT-AT, and by the
        # paper's authors for ResNet-18.
        "rolss": {"scale": 0.0},
        "ssf": {"scale": 0.2},
        "ssf-resnet18": {"scale": 0.6},
        # The released code on ResNets: of the paper for RoLSS and for SSF on ResNet-18, of AT-AT for RoLSS and SSF.
        "compat": {"scale": 0.0, "stage3_tail": True},
        "ssf-compat": {"scale": 0.2, "stage3_tail": True},
        "ssf-resnet18-compat": {"scale": 0.6, "stage3_tail": True},
        "tts": {"scale": 0.0, "with_skips": 0.5},  # half is our choice
        "convnext-tiny": {"scales": (0, 0, 1, 1)},  # released configurations, here and below
        "densenet121": {"scales": (1, 0, 1, 1), "narrow": True},  # also of DenseNet-161 and 201
        "densenet169": {"scales": (0, 1, 1, 1), "narrow": True},
        # The same skips removed from a network of the plain widths, which takes pre-trained weights; of no paper.
        "densenet121-masked": {"scales": (1, 0, 1, 1)},
        "densenet169-masked": {"scales": (0, 1, 1, 1)},
        # Stage 7 is one block without a skip: this changes nothing and is reported as inactive. Prefer "rolss".
        "mobilenet-v2": {"scales": (1, 1, 1, 1, 1, 1, 0)},
        "vit-b-16": {"scales": (0, *[1] * 11), "mode": "mlp"},
    }

    scale: Scale = 0.0
    scales: tuple[Scale, ...] = ()
    mode: Literal["all", "attention", "mlp"] = "all"
    stage3_tail: bool = False
    narrow: Annotated[bool, OmitIfDefault()] = False
    with_skips: Annotated[float, Ge(0), Lt(1)] = 0.0

    def __post_init__(self) -> None:
        if self.narrow and self.with_skips:
            raise UsageError("rolss: layers that narrow=true builds cannot train with whole skips. Set with_skips=0.")

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put scales into the blocks; refuse a network that has no skips, or not what the parameters ask for."""
        blocks = {path: module for path, module in classifier.body.named_modules() if has_skip(module)}
        self._check({type(block).__name__ for block in blocks.values()})
        scales = self._scales(classifier, list(blocks))
        if self.narrow:
            narrow_densenet(classifier, scales)
        for block, scale in zip(blocks.values(), scales, strict=True):
            install(block, scale, self.mode, cut=self.narrow)
        ctx.extras["epochs_weak"] = torch.zeros(())
        return classifier

    def _check(self, kinds: set[str]) -> None:
        if not kinds:
            names = "ResNet, ResNeXt, DenseNet, MobileNet, EfficientNet, ConvNeXt, ViT or small-resnet"
            raise UsageError(f"rolss: this network has no skip connections to weaken. Use {names}.")
        if self.stage3_tail and not kinds <= set(RESNETS):
            raise UsageError("rolss: stage3_tail is defined on ResNets only. Set it to false.")
        if self.narrow and kinds != {DENSE_BLOCK}:
            raise UsageError("rolss: narrow is defined on DenseNets only. Set it to false.")
        if self.mode != "all" and kinds != {"EncoderBlock"}:
            raise UsageError(f"rolss: mode={self.mode} is defined on Vision Transformers only. Set it to all.")

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Let skips through while the first stage of two-stage training lasts."""
        skips = skips_of(model).values()
        for skip in skips:
            skip.now = 1.0 if ctx.epoch < int(self.with_skips * ctx.epochs) else skip.scale
        weak = any(skip.now != 1 for skip in skips)
        ctx.extras["epochs_weak"] = ctx.extras.get("epochs_weak", torch.zeros(())) + float(weak)

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff some skip is weaker than 1 now and was in training; in two-stage training, not from the start."""
        skips, epochs = skips_of(model), int(ctx.extras["epochs_weak"])
        weak = sum(skip.now != 1 for skip in skips.values())
        signals = {f"scale {path}": skip.now for path, skip in skips.items()} | {"weak": weak, "epochs_weak": epochs}
        reason = f"{weak} of {len(skips)} skips weakened in {epochs} of {ctx.epochs} epochs"
        return SelfCheck(weak > 0 and 0 < epochs < ctx.epochs + (not self.with_skips), signals, reason)

    def _scales(self, classifier: Classifier, blocks: Sequence[str]) -> list[float]:
        paths, stages = [path for path, _ in classifier.body.named_modules()], classifier.stage_names or [""]
        ends = [max(i for i, path in enumerate(paths) if f"{path}.".startswith(f"{stage}.")) for stage in stages]
        stage_of = [min(bisect_left(ends, paths.index(block)), len(ends) - 1) for block in blocks]
        scales = list(self.scales) or [self.scale if stage == max(stage_of) else 1.0 for stage in stage_of]
        if len(self.scales) == len(stages):
            scales = [self.scales[stage] for stage in stage_of]
        if len(scales) != len(blocks):
            raise UsageError(f"rolss: scales needs {len(stages)} entries (stages) or {len(blocks)} (blocks).")
        third = [index for index, stage in enumerate(stage_of) if stage == 2]
        for index in third[int(0.8 * len(third)) :] if self.stage3_tail else []:
            scales[index] = 0.0
        return scales
