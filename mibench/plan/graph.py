"""The nodes of one protocol: what each stage needs, and what of it enters its key. Knows stages, not methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mibench.plan.node import Node, make_node
from mibench.plan.resolve import Resolved
from mibench.protocol.schema import Evaluator, Protocol, Recipe
from mibench.protocol.split import Identities


@dataclass(frozen=True)
class ProtocolContext:
    """What every cell of a protocol shares.

    Attributes:
        protocol: the protocol.
        identities: private and public identities.
        part: ``"test"``, or ``"val"`` for the validation variant.
        dataset: resolved dataset.
        prior: resolved prior.
        source: dataset that the prior learns from, if it is not the protocol's.
        embedder: resolved embedder.
        evaluators: resolved evaluator architectures by name.
        metrics: resolved metrics.
        attacked: classes that are attacked; ``None`` is all.
    """

    protocol: Protocol
    identities: Identities
    part: str
    dataset: Resolved
    prior: Resolved
    source: Resolved | None
    embedder: Resolved
    evaluators: Mapping[str, Resolved]
    metrics: tuple[Resolved, ...]
    attacked: Sequence[int] | None = None

    @property
    def some_classes(self) -> dict[str, list[int]]:
        """What the payload of a node on attacked classes holds beside the rest: nothing if they are all."""
        return {} if self.attacked is None else {"attacked": list(self.attacked)}


class Graph:
    """Makes the nodes of a protocol, each once.

    Attributes:
        fixed: what every cell shares.
        nodes: all nodes so far, by key.
        split: the payload that decides which private images train, validate and test.

    Args:
        fixed: what every cell shares.
        files: digest to path of files that parameters name; it may grow while nodes are made.
    """

    def __init__(self, fixed: ProtocolContext, files: Mapping[str, str] | None = None) -> None:
        self.fixed = fixed
        self._files = {} if files is None else files
        self.nodes: dict[str, Node] = {}
        image = fixed.protocol.image
        self._image, self._judged = (shape.model_dump(mode="json") for shape in (image.seen, image.judged))
        self.split = {
            **fixed.protocol.split.model_dump(mode="json", exclude={"private", "public", "private_from"}),
            "identities": fixed.identities.private,
        }

    def data(self, part: str, *, judged: bool = False) -> Node:
        """Images of the ``"private"`` or ``"public"`` identities, as the target sees them or as judges do."""
        image = self._judged if judged else self._image
        identities = getattr(self.fixed.identities, part)
        label = f"{self.fixed.dataset.name} · {len(identities)} {part} identities"
        entry = self.fixed.dataset.entry()
        return self._add(make_node("data", label, {}, dataset=entry, identities=identities, image=image))

    def prior(self, prior: Resolved | None = None, target: Node | None = None) -> Node:
        """A prior trained on public identities: the protocol's, or another that an attack brings.

        Args:
            prior: the other one.
            target: what its training may ask, if it wants to.
        """
        prior = prior or self.fixed.prior
        needs, label = {"public": self._prior_images()}, f"{prior.asked} on public identities"
        extra: dict[str, Any] = {}
        if prior.traits.needs_target and target is not None:
            needs["target"] = target
            label = f"{prior.asked} for {target.label}"
            extra["classes"] = len(self.fixed.identities.private)
        seed, entry = self.fixed.protocol.prior.seed, prior.entry()
        entry["params"], _ = prior.traits.split(prior.params)
        return self._add(make_node("prior", label, needs, prior=entry, seed=seed, image=self._image, **extra))

    def evaluators(self) -> dict[str, Node]:
        """The judges that are trained on the private data."""
        return {choice.name: self._evaluator(choice) for choice in self.fixed.protocol.evaluators}

    def target(self, model: Resolved, defense: Resolved, seed: int) -> Node:
        """The defended classifier."""
        label = f"{defense.asked} · {model.name} · seed {seed}"
        return self._classifier("target", label, model, self.fixed.protocol.recipe, seed, defense)

    def reconstruct(self, target: Node, attack: Resolved, seed: int, label: str, prior: Resolved | None = None) -> Node:
        """What an attack makes of a target, with the protocol's prior or its own."""
        needs = {"target": target, "prior": self.prior(prior, target)}
        if attack.traits.needs_public:
            needs["public"] = self._prior_images()
        if attack.settled.uses_evaluator:
            needs |= {f"evaluator:{name}": node for name, node in self.evaluators().items()}
        inputs: dict[str, Any] = {"budget": self.fixed.protocol.budget.model_dump(mode="json")}
        used, image = prior or self.fixed.prior, self.fixed.protocol.image.model_dump(mode="json")
        if deployed := used.traits.split(used.params)[1]:
            inputs["deploy"] = deployed
        inputs |= self.fixed.some_classes
        return self._add(
            make_node("reconstruct", label, needs, attack=attack.entry(), seed=seed, image=image, **inputs)
        )

    def gold(self) -> Node:
        """Held-out private images, to be measured like reconstructions."""
        needs = {"private": self.data("private", judged=True)}
        inputs = {"split": self.split, "part": self.fixed.part, **self.fixed.some_classes}
        return self._add(make_node("gold", "held-out private images", needs, **inputs))

    def measure(self, metric: Resolved, *, target: Node, evidence: Node | None, label: str) -> Node:
        """One metric on a target, or on reconstructions."""
        judged = evidence is not None
        needs: dict[str, Node] = {"private": self.data("private", judged=judged)}
        extra: dict[str, Any] = {"image": self._image} if judged and self._image != self._judged else {}
        if metric.traits.subject == "target" or "target" in metric.traits.needs:
            needs["target"] = target
        if evidence is not None:
            needs["evidence"] = evidence
        if "evaluators" in metric.traits.needs:
            needs |= {f"evaluator:{name}": node for name, node in self.evaluators().items()}
        if "embedder" in metric.traits.needs:
            extra["embedder"] = self.fixed.embedder.entry()
        return self._add(
            make_node(
                "measure",
                f"{metric.name} · {label}",
                needs,
                metric=metric.entry(),
                split=self.split,
                part=self.fixed.part,
                **extra,
            )
        )

    def _prior_images(self) -> Node:
        source, choice = self.fixed.source, self.fixed.protocol.prior.source
        if source is None or choice is None:
            return self.data("public")
        identities = list(range(choice.identities))
        label = f"{source.name} · {len(identities)} public identities"
        return self._add(make_node("data", label, {}, dataset=source.entry(), identities=identities, image=self._image))

    def _evaluator(self, choice: Evaluator) -> Node:
        model = self.fixed.evaluators[choice.name]
        return self._classifier("evaluator", f"{choice.name} · {model.name}", model, choice.recipe, choice.seed)

    def _classifier(
        self, stage: Any, label: str, model: Resolved, recipe: Recipe, seed: int, defense: Resolved | None = None
    ) -> Node:
        judged = stage == "evaluator"
        needs = {"private": self.data("private", judged=judged)}
        inputs: dict[str, Any] = {} if defense is None else {"defense": defense.entry()}
        start = self._start(label, model, recipe, seed, defense)
        if start is not None:
            needs["start"] = start
            inputs["start"] = start.stage
            if start.stage != "pretrain" and recipe.start == "public":
                needs["pretrain"] = self._pretrain(model, recipe, judged=judged)
        return self._add(
            make_node(
                stage,
                label,
                needs,
                model=model.entry(),
                recipe=recipe.model_dump(mode="json"),
                seed=seed,
                image=self._judged if judged else self._image,
                split=self.split,
                precision=self.fixed.protocol.precision,
                **inputs,
            )
        )

    def _start(self, label: str, model: Resolved, recipe: Recipe, seed: int, defense: Resolved | None) -> Node | None:
        """Return the training that comes before, if the defense or the recipe wants one."""
        if defense and defense.settled.start is not None:
            return self._classifier("target", f"{label} · start", model, recipe.before_another(), seed, defense.start())
        judge, starts = defense is None, defense is not None and defense.settled.starts
        return self._pretrain(model, recipe, judged=judge) if starts or recipe.start == "public" else None

    def _pretrain(self, model: Resolved, recipe: Recipe, *, judged: bool) -> Node:
        """Plain training on the public identities; one for all seeds and defenses."""
        plain = recipe.before_another().model_copy(update={"start": "random"})
        split = self.fixed.protocol.split
        extra = {"validation": {"images": split.val, "seed": split.seed}} if plain.validates else {}
        return self._add(
            make_node(
                "pretrain",
                f"{model.name} on public identities",
                {"public": self.data("public", judged=judged)},
                model=model.entry(),
                recipe=plain.model_dump(mode="json"),
                seed=0,
                image=self._judged if judged else self._image,
                classes=len(self.fixed.identities.public),
                precision=self.fixed.protocol.precision,
                **extra,
            )
        )

    def _add(self, node: Node) -> Node:
        return self.nodes.setdefault(node.key, replace(node, files=self._files))
