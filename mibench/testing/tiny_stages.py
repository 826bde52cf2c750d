"""The product's own stages on the tiny world: planned, run, interrupted and resumed as ``mibench run`` does it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from mibench.api.rng import seeded
from mibench.api.specs import AttackSpec, Kind, ModelSpec, Spec
from mibench.nodes.node import Node
from mibench.plan.cells import Cell, expand_loaded
from mibench.plan.facts import Facts
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.registry.discovery import question, wrap_modules
from mibench.registry.kinds import SPEC_TYPES
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry
from mibench.stages import prior as prior_stage
from mibench.stages.run import run_node
from mibench.store.artifact import Artifact
from mibench.store.store import Store
from mibench.testing import tiny_plugin
from mibench.testing.checks import require
from mibench.testing.tiny_world import TinyWorld
from mibench.testing.training import CPU, Interrupted, stop_after, tiny_recipe
from mibench.training import loop

TESTED = "tested"
"""Name under which a component takes part."""
HELD_OUT = {"val": 1, "test": 2}


class TinyRegistry(Registry):
    """The tiny plugin, and components that need no import string.

    Args:
        components: classes by kind and name.
    """

    def __init__(self, components: Mapping[tuple[Kind, str], type]) -> None:
        found = question(wrap_modules([tiny_plugin]))
        self._classes = dict(components)
        for (kind, name), component in components.items():
            spec = _spec(kind, name, component)
            found.components[kind, name] = Registered(spec, "mibench", "", component.__module__, "")
        super().__init__(found)

    def component(self, kind: str, name: str) -> type[Any]:
        """Return a class."""
        for (known, named), component in self._classes.items():
            if (known, named) == (kind, name):
                return component
        return super().component(kind, name)


def _spec(kind: Kind, name: str, component: type) -> Spec:
    factory = f"{component.__module__}:{component.__qualname__}"
    if kind == "attack":
        access: Any = str(getattr(component, "access", "white-box"))
        return AttackSpec(name=name, factory=factory, summary="under test", access=access)
    if kind == "model" and not hasattr(component, "build"):
        return ModelSpec(name=name, factory=factory, summary="under test", role="embedder")
    return SPEC_TYPES[kind](name=name, factory=factory, summary="under test")


class TinyStages:
    """A protocol on the tiny world, and a store of its own.

    Args:
        world: gives sizes.
        root: folder of the store.
        components: classes by kind and name, beside those of the tiny plugin.
        **parts: what of the protocol is another than the tiny plugin's.
    """

    def __init__(self, world: TinyWorld, root: Path, components: Mapping[tuple[Kind, str], type], **parts: Any) -> None:
        self.world, self.root, self.parts = world, root, parts
        self.registry = TinyRegistry(components)

    @cached_property
    def cell(self) -> Cell:
        """One cell of the protocol, planned by the planner."""
        raw = {**tiny_protocol(self.world), **self.parts}
        attack = next(iter(raw["attacks"]), raw["floor"]["name"])
        loaded = parse_protocol(json.dumps(raw))
        request = Request(
            protocols=(loaded.protocol.id,), defenses=(raw["undefended"]["name"],), attacks=(attack,), store=self.root
        )
        return expand_loaded(loaded, request, Facts(self.registry))[-1]

    def make(self, node: Node, *, stop: int | None = None) -> Artifact:
        """Run the stage of a node, and before it those of its inputs.

        Args:
            node: of the cell.
            stop: cut the stage short when this many parts of its work are safe, then run it again to its end.
        """
        store = Store(self.root)
        for key in node.needs.values():
            needed = self.cell.graph.nodes[key]
            if store.find(needed.stage, key) is None:
                self.make(needed)
        if stop is not None:
            with saving_always(), suppress(Interrupted):
                run_node(node, store, self.registry, CPU, stop_after(stop))
        return run_node(node, store, self.registry, CPU, lambda *_: None)

    def same_bytes(self, node: Node, *, stop: int | None = 1) -> Artifact:
        """Run a stage through, and again under other global seeds with an interruption; return its artifact.

        Raises:
            AssertionError: if any file of the artifact differs.
        """
        with seeded("contract", "global", 1):
            whole = self.make(node)
        shutil.rmtree(whole.path)
        with seeded("contract", "global", 2):
            again = self.make(node, stop=stop)
        names = sorted({*whole.files, *again.files})
        other = [name for name in names if whole.files.get(name) != again.files.get(name)]
        how = "other global seeds" + ("" if stop is None else " and an interruption")
        require(not other, f"the stage {node.stage!r} wrote another {', '.join(other)} under {how}")
        return again


@contextmanager
def saving_always() -> Iterator[None]:
    """Let stages write a checkpoint, and tell their progress, after every part of their work."""
    with ExitStack() as stack:
        for module, name in (
            (loop, "CHECKPOINT_SECONDS"),
            (prior_stage, "CHECKPOINT_SECONDS"),
            (prior_stage, "REPORT_SECONDS"),
        ):
            stack.enter_context(patch.object(module, name, -1.0))
        yield


@contextmanager
def tiny_stages(
    world: TinyWorld, components: Mapping[tuple[Kind, str], type] | None = None, **parts: Any
) -> Iterator[TinyStages]:
    """Yield stages whose store goes at the end; arguments as of :class:`TinyStages`."""
    with TemporaryDirectory(prefix="mibench-contract-") as root:
        yield TinyStages(world, Path(root), components or {}, **parts)


def tiny_gallery(world: TinyWorld) -> dict[str, Any]:
    """Return the parts of a protocol in which judges look for people among as many distractors as private people."""
    parts = tiny_protocol(world)
    dataset = {**parts["dataset"], "params": {**parts["dataset"]["params"], "identities": 3 * world.classes}}
    return {"dataset": dataset, "gallery": {"images": "portraits", "distractors": world.classes}}


def tiny_protocol(world: TinyWorld) -> dict[str, Any]:
    """Return the content of the protocol, as YAML would hold it."""
    recipe = tiny_recipe().model_dump(mode="json")
    images = {"train": world.per_class, **HELD_OUT}
    faces = {"identities": 2 * world.classes, "per_identity": sum(images.values()), "noise": world.noise}
    return {
        "name": "tiny-world",
        "version": "1.0",
        "summary": "a fraction of a second, for contracts",
        "dataset": {"name": "tiny-faces", "params": faces},
        "image": {"size": world.size, "channels": world.channels},
        "split": {"seed": world.seed, "private": world.classes, "public": world.classes, **images},
        "model": {"name": "tiny-net"},
        "recipe": recipe,
        "prior": {"name": "tiny-patterns"},
        "evaluators": [{"name": "judge", "model": {"name": "tiny-net"}, "recipe": recipe, "seed": 1000}],
        "embedder": {"name": "tiny-eye"},
        "attacks": {},
        "undefended": {"name": "tiny-plain"},
        "floor": {"name": "tiny-choice"},
        "metrics": [{"name": "tiny-near"}],
        "headline": "near",
        "seeds": [0],
    }
