"""Several defenses as one: ``first+second``.

Shapes: B images of a batch, C channels, H = W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mibench.api.classifier import Classifier, Outputs
from mibench.api.data import ImageSet
from mibench.api.defense import Defense, SelfCheck, Step, TrainContext, Transform, WarmStart, draw_batches
from mibench.api.errors import UsageError

ALONE: Mapping[str, tuple[str, ...]] = {
    "replaces the training step or its loss": ("training_step", "loss"),
    "draws the batches": ("batches", "labelled_batches"),
    "changes the gradients": ("on_gradients",),
}
"""What at most one part may do, because a second would undo the first, and the methods by which it does it."""


class Composition(Defense):
    """Defenses applied in the order of their names; each has extras of its own.

    Networks, transforms, training data, hooks and what is deployed are built one on the other. The optimiser updates
    what every part leaves trainable. The whole is active if every part is.

    Args:
        parts: defenses by name, at least two.

    Raises:
        UsageError: if two parts do what only one of them can.
    """

    def __init__(self, parts: Mapping[str, Defense]) -> None:
        self.parts = dict(parts)
        for what, methods in ALONE.items():
            doing = [name for name, part in self.parts.items() if any(_overrides(part, m) for m in methods)]
            if len(doing) > 1:
                raise _clash(doing, what)
        starting = [name for name, part in self.parts.items() if part.starts_from() is not None]
        if len(starting) > 1:
            raise _clash(starting, "starts from another training")

    def starts_from(self) -> WarmStart | None:
        """Return what the one part starts from that starts from anything; private trainings repeat the composition."""
        for name, part in self.parts.items():
            start = part.starts_from()
            if start is not None and start.defense is not None:
                return WarmStart(start.images, Composition({**self.parts, name: start.defense}))
            if start is not None:
                return start
        return None

    def cost(self) -> float:
        """Return the product of the parts' costs."""
        product = 1.0
        for part in self.parts.values():
            product *= part.cost()
        return product

    def check_recipe(self, *, num_images: int, batch: int, epochs: int) -> None:
        """Ask every part, unless one changes how many images there are."""
        if not any(_overrides(part, "train_dataset") for part in self.parts.values()):
            for part in self.parts.values():
                part.check_recipe(num_images=num_images, batch=batch, epochs=epochs)

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Build one part on the other."""
        for part, own in self._with(ctx):
            classifier = part.build(classifier, own).to(ctx.device)
        return classifier

    def train_transform(self, base: Transform, ctx: TrainContext) -> Transform:
        """Chain the transforms."""
        for part, own in self._with(ctx):
            base = part.train_transform(base, own)
        return base

    def train_dataset(self, data: ImageSet, ctx: TrainContext) -> ImageSet:
        """Chain the changes of the data."""
        for part, own in self._with(ctx):
            data = part.train_dataset(data, own)
        return data

    def inference(self, model: Classifier, ctx: TrainContext) -> Classifier:
        """Wrap one part around the other."""
        for part, own in self._with(ctx):
            model = part.inference(model, own)
        return model

    def batches(
        self, num_images: int, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Let the one part draw that draws, else the default."""
        return draw_batches(self._one("batches", "labelled_batches"), num_images, batch, rng, drop_last=drop_last)

    def labelled_batches(
        self, labels_N: Tensor, batch: int, rng: torch.Generator, *, drop_last: bool = False
    ) -> Sequence[Tensor]:
        """Let the one part draw that draws, else the default."""
        return self._one("batches", "labelled_batches").labelled_batches(labels_N, batch, rng, drop_last=drop_last)

    def parameters(self, model: Classifier, ctx: TrainContext) -> Iterable[nn.Parameter]:
        """Return what every part would update of the network, and what any part adds to it."""
        wanted = [list(part.parameters(model, own)) for part, own in self._with(ctx)]
        network = {id(parameter): parameter for parameter in model.parameters()}
        shared = set(network).intersection(*({id(parameter) for parameter in part} for part in wanted))
        added = {id(p): p for part in wanted for p in part if id(p) not in network}
        return [*(parameter for key, parameter in network.items() if key in shared), *added.values()]

    def training_step(self, model: Classifier, x_BCHW: Tensor, y_B: Tensor, ctx: TrainContext) -> Step:
        """Take the step of the one part that has its own, else the default."""
        name = self._name("training_step", "loss")
        return self.parts[name].training_step(model, x_BCHW, y_B, self._own(name, ctx))

    def loss(self, outputs: Outputs, y_B: Tensor, ctx: TrainContext) -> Tensor:
        """Return the loss of the one part that has its own, else the default."""
        name = self._name("training_step", "loss")
        return self.parts[name].loss(outputs, y_B, self._own(name, ctx))

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Tell every part."""
        self._each(lambda part, own: part.on_epoch_start(model, own), ctx)

    def on_gradients(self, model: Classifier, ctx: TrainContext) -> None:
        """Tell every part."""
        self._each(lambda part, own: part.on_gradients(model, own), ctx)

    def on_step_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Tell every part."""
        self._each(lambda part, own: part.on_step_end(model, own), ctx)

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Tell every part."""
        self._each(lambda part, own: part.on_epoch_end(model, own), ctx)

    def finish(self, model: Classifier, data: ImageSet, ctx: TrainContext) -> None:
        """Tell every part."""
        self._each(lambda part, own: part.finish(model, data, own), ctx)

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Join the verdicts: active iff every part is; signals are named ``part.signal``."""
        verdicts = {name: part.self_check(model, self._own(name, ctx)) for name, part in self.parts.items()}
        signals = {f"{name}.{key}": value for name, v in verdicts.items() for key, value in v.signals.items()}
        reason = "; ".join(f"{name}: {v.reason}" for name, v in verdicts.items() if v.reason)
        return SelfCheck(all(v.active for v in verdicts.values()), signals, reason)

    def _each(self, call: Callable[[Defense, TrainContext], None], ctx: TrainContext) -> None:
        for part, own in self._with(ctx):
            call(part, own)

    def _with(self, ctx: TrainContext) -> Iterator[tuple[Defense, TrainContext]]:
        for name, part in self.parts.items():
            yield part, self._own(name, ctx)

    def _own(self, name: str, ctx: TrainContext) -> TrainContext:
        return cast(TrainContext, _Part(ctx, f"{name}/"))

    def _name(self, *methods: str) -> str:
        own = [name for name, part in self.parts.items() if any(_overrides(part, method) for method in methods)]
        return (own or list(self.parts))[0]

    def _one(self, *methods: str) -> Defense:
        return self.parts[self._name(*methods)]


class _Part:
    """The context of a part: that of the whole, as it is at any time, but for extras and start."""

    _base: TrainContext
    _prefix: str

    def __init__(self, base: TrainContext, prefix: str) -> None:
        self.__dict__.update(_base=base, _prefix=prefix)

    @property
    def extras(self) -> MutableMapping[str, Any]:
        return _Prefixed(self._base.extras, self._prefix)

    @property
    def start(self) -> Mapping[str, Tensor] | None:
        start = self._base.start
        return None if start is None else {key.removeprefix(self._prefix): value for key, value in start.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._base, name, value)


class _Prefixed(MutableMapping[str, Any]):
    """The entries of a mapping whose names begin with a prefix, without it."""

    def __init__(self, base: MutableMapping[str, Any], prefix: str) -> None:
        self._base, self._prefix = base, prefix

    def __getitem__(self, key: str) -> Any:
        return self._base[self._prefix + key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._base[self._prefix + key] = value

    def __delitem__(self, key: str) -> None:
        del self._base[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        return (key.removeprefix(self._prefix) for key in self._base if key.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _clash(names: Sequence[str], what: str) -> UsageError:
    return UsageError(f"{' and '.join(names)} cannot be combined: each of them {what}, and only one can.")


def _overrides(part: Defense, method: str) -> bool:
    return getattr(type(part), method) is not getattr(Defense, method)
