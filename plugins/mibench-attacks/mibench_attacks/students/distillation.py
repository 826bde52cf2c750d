"""Students of the target: networks that learn its predictions on public images, for LOMMA's model augmentation.

Shapes: M public images, B of a batch, C channels, S = side in pixels, K classes, D features of the target.
Source: Nguyen et al., "Re-thinking Model Inversion Attacks Against Deep Neural Networks" (LOMMA, CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.functional import kl_div
from torch.optim import SGD

from mibench.api import AttackContext, ImageSet, TargetView, UsageError, freeze, seeded
from mibench_attacks.images.batching import batches
from mibench_attacks.students.networks import Student, check_student, make_student

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
HALVED_AFTER = 20
"""Epochs after which the learning rate is halved, again and again."""


class DistillationSet(NamedTuple):
    """Public images with the target's answers, from which students learn.

    Attributes:
        images: public images.
        index_M: positions of those that were shown, in order.
        logits_MK: its logits.
        mean_D: its mean features.
    """

    images: ImageSet
    index_M: Tensor
    logits_MK: Tensor
    mean_D: Tensor


def query_teacher(target: TargetView, ctx: AttackContext, count: int, *, batch: int) -> DistillationSet:
    """Show the target exactly ``count`` public images in random order, all of them before any comes again.

    Raises:
        UsageError: if there are no public images.
    """
    if ctx.public is None or len(ctx.public) == 0:
        raise UsageError("an attack with students or a feature regulariser needs public images; the protocol has none")
    images, rng = ctx.public, ctx.rng("public")
    rounds = -(-count // len(images))
    index_M = torch.cat([torch.randperm(len(images), generator=rng) for _ in range(rounds)])[:count]
    logits, features = [], []
    with torch.no_grad():
        for rows in batches(count, batch):
            logits_BK, features_BD = target.logits_and_features(images.images(index_M[rows]).to(ctx.device))
            logits.append(logits_BK.float())
            features.append(features_BD.double().sum(0))
    return DistillationSet(images, index_M, torch.cat(logits), (torch.stack(features).sum(0) / count).float())


@dataclass(frozen=True, kw_only=True)
class Distiller:
    """Distils students by ``KL(softmax T || softmax S)`` and SGD, all on one distillation set.

    Attributes:
        public_images: public images shown to the target, exactly: drawn without repetition while there are enough.
        students: networks, efficientnet_b0 .. efficientnet_b7 or cnn-WIDTH.
        epochs: passes of a student through the public images.
        lr: learning rate of SGD, halved after every 20 epochs.
        batch: public images per update.

    Raises:
        UsageError: for an unknown network.
    """

    public_images: Annotated[int, Ge(1)] = 30_000
    students: tuple[str, ...] = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2")
    epochs: Annotated[int, Ge(1)] = 20
    lr: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(2)] = 64

    def __post_init__(self) -> None:
        for name in self.students:
            check_student(name)

    def distill(self, target: TargetView, ctx: AttackContext) -> tuple[list[Student], Tensor]:
        """Return the students, frozen, and the target's mean features (D,); a restart finds both again."""
        kept = ctx.cached("students", lambda: self._trained(target, ctx))
        students = self._untrained(target, ctx)
        for index, student in enumerate(students):
            start = f"{index}."
            own = {name.removeprefix(start): kept[name] for name in kept if name.startswith(start)}
            student.load_state_dict(own)
        return [freeze(student.to(ctx.device)) for student in students], kept["mean_D"]

    def _trained(self, target: TargetView, ctx: AttackContext) -> dict[str, Tensor]:
        distillation_set = query_teacher(target, ctx, self.public_images, batch=self.batch)
        states = {"mean_D": distillation_set.mean_D}
        for index, student in enumerate(self._untrained(target, ctx)):
            orders = [ctx.rng("student", index, epoch) for epoch in range(self.epochs)]
            with seeded(ctx.seed, "dropout", index):
                self.train_student(student.to(ctx.device), distillation_set, orders)
            states |= {f"{index}.{name}": tensor for name, tensor in student.state_dict().items()}
        return states

    def _untrained(self, target: TargetView, ctx: AttackContext) -> list[Student]:
        with seeded(ctx.seed, "students"):
            shape = {"channels": ctx.channels, "num_classes": target.num_classes}
            return [make_student(name, **shape) for name in self.students]

    def train_student(
        self, student: nn.Module, distillation_set: DistillationSet, orders: Sequence[torch.Generator]
    ) -> None:
        """Train a student in place, one epoch for each generator, which orders the images."""
        student.train()
        optimizer = SGD(student.parameters(), lr=self.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        for epoch, rng in enumerate(orders):
            optimizer.param_groups[0]["lr"] = self.lr * 0.5 ** (epoch // HALVED_AFTER)
            for x_BCSS, log_q_BK in self._batches(distillation_set, rng):
                log_p_BK = student(x_BCSS).log_softmax(1)
                loss = kl_div(log_p_BK, log_q_BK, reduction="batchmean", log_target=True)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    def _batches(self, distillation_set: DistillationSet, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        device = distillation_set.logits_MK.device
        for rows_B in torch.randperm(len(distillation_set.index_M), generator=rng).split(self.batch):
            if len(rows_B) > 1:  # BatchNorm has no statistics of a single image
                x_BCSS = distillation_set.images.images(distillation_set.index_M[rows_B]).to(device)
                yield x_BCSS, distillation_set.logits_MK[rows_B.to(device)].log_softmax(1)
