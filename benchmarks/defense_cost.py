"""What a training step of each defense costs, in units of plain training: by its formula, and measured.

Each round takes steps of plain training and of the defense in turn, in one process, so that both see the same machine.
The ratio is the median over rounds. Prints a Markdown table.

    uv run python benchmarks/defense_cost.py --model smallcnn --size 64 --channels 3 --batch 32
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from statistics import median
from typing import Any

import torch

from mibench.api import Classifier, Defense, TrainContext, UsageError, generator, params, seeded
from mibench.api.extras import flat_extras
from mibench.registry import Registry, load_registry
from mibench.testing import TinyWorld


class Stepper:
    """A defense in training on random pictures of one batch."""

    def __init__(self, defense: Defense, plain: Classifier, args: argparse.Namespace) -> None:
        self.defense = defense
        world = TinyWorld(
            classes=args.classes, per_class=-(-args.batch // args.classes), size=args.size, channels=args.channels
        )
        start = self._start(defense, plain, args)
        self.ctx: TrainContext = world.context(epochs=10)
        self.ctx.batch, self.ctx.num_images, self.ctx.start, self.ctx.epoch = args.batch, args.batch * 10, start, 9
        with seeded("benchmark"):
            self.model = defense.build(deepcopy(plain), self.ctx).train()
            data = defense.train_dataset(world.images(), self.ctx)
            self.transform = defense.train_transform(lambda x_BCHW: x_BCHW, self.ctx)
        self.optimizer = torch.optim.Adam(list(defense.parameters(self.model, self.ctx)))
        picked = torch.randperm(len(data), generator=generator("benchmark"))[: args.batch]
        self.x_BCHW, self.y_B = data.images(picked), data.labels_N[picked]
        defense.on_epoch_start(self.model, self.ctx)

    @staticmethod
    def _start(defense: Defense, plain: Classifier, args: argparse.Namespace) -> dict[str, torch.Tensor] | None:
        wanted = defense.starts_from()
        if wanted is None:
            return None
        if wanted.defense is None:
            return dict(plain.state_dict())
        first = Stepper(wanted.defense, plain, args)
        return {**first.model.state_dict(), **flat_extras(first.ctx.extras)}

    def step(self) -> float:
        """Take a step and return its seconds."""
        self.ctx.rng = generator("benchmark", self.ctx.step)
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with seeded("step", self.ctx.step):
            self.defense.training_step(self.model, self.transform(self.x_BCHW), self.y_B, self.ctx).loss.backward()
        self.defense.on_gradients(self.model, self.ctx)
        self.optimizer.step()
        self.defense.on_step_end(self.model, self.ctx)
        self.ctx.step += 1
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    registry = load_registry()
    settings = dict(entry.partition("=")[::2] for entry in args.set)
    model: Any = params.build(registry.component("model", args.model), settings)
    with seeded("benchmark", "model"):
        plain = model.build(num_classes=args.classes, channels=args.channels, size=args.size)
    print(f"{args.model}, {args.channels} x {args.size} x {args.size}, batch {args.batch}, {args.threads} threads")
    print("| defense | by formula | measured |\n|---|---|---|")
    for name in args.defenses or [entry.name for entry in registry.entries("defense")]:
        print(row(registry, name, plain, args), flush=True)


def row(registry: Registry, text: str, plain: Classifier, args: argparse.Namespace) -> str:
    """Measure one defense against plain training, by turns."""
    name, _, preset = text.partition("/")
    component = registry.component("defense", name)
    defense = params.build(component, params.presets_of(component)[preset] if preset else {})
    try:
        mine, none = Stepper(defense, plain, args), Stepper(Defense(), plain, args)
    except UsageError as error:
        return f"| {text} | – | {error} |"
    mine.step(), none.step()
    ratios = [mine.step() / none.step() for _ in range(args.rounds)]
    return f"| {text} | {defense.cost():.1f} | {median(ratios):.1f} |"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smallcnn")
    parser.add_argument("--set", action="append", default=[], help="parameter of the model, e.g. input_size=64")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("defenses", nargs="*", help="name or name/preset; all by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
