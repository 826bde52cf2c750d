"""The nodes of one protocol: what each stage needs, and what of it enters its key. Knows stages, not methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NoReturn

from mibench.api.errors import UsageError
from mibench.nodes.classifier import EvaluatorInputs, PretrainInputs, TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.gold import GoldInputs
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import Ref
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.node import Node
from mibench.nodes.prior import PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.plan.context import ProtocolContext
from mibench.plan.resolve import Resolved
from mibench.protocol.schema import Evaluator, Recipe
from mibench.protocol.split import HoldOut, PrivateSplit


class Graph:
    """Makes the nodes of a protocol, each once.

    Attributes:
        fixed: what every cell shares.
        nodes: all nodes so far, by key.
        split: what decides which private images train, validate and test.

    Args:
        fixed: what every cell shares.
        files: digest to path of files that parameters name; it may grow while nodes are made.
    """

    def __init__(self, fixed: ProtocolContext, files: Mapping[str, str] | None = None) -> None:
        self.fixed = fixed
        self._files = {} if files is None else files
        self.nodes: dict[str, Node] = {}
        self._seen, self._judged = fixed.protocol.image.seen, fixed.protocol.image.judged
        self.split = PrivateSplit.of(fixed.protocol.split, fixed.identities.private)

    def data(self, group: Literal["private", "public"], *, judged: bool = False) -> Node:
        """Images of the private or the public identities, as the target sees them or as judges do."""
        dataset, people = self.fixed.dataset, self.fixed.identities
        identities = people.private if group == "private" else people.public
        label = f"{dataset.name} · {len(identities)} {group} identities"
        image = self._judged if judged else self._seen
        return self._add(DataInputs(dataset=dataset.entry(), identities=identities, image=image), label)

    def gallery(self) -> Node:
        """Pictures of the private people among whom judges of identity look, with what else is known of them."""
        return self._people(self.fixed.identities.private, "private")

    def distractors(self) -> Node | None:
        """Pictures of the others among whom they look; ``None`` if there are none."""
        people = self.fixed.identities.distractors
        return self._people(people, "distractor") if people else None

    def _people(self, identities: list[int], group: str, take: Literal[0, 1] = 0) -> Node:
        dataset, portraits = self.fixed.dataset, self.fixed.gallery.images == "portraits"
        inputs = DataInputs(
            dataset=dataset.entry(),
            identities=identities,
            image=self._judged,
            portraits=take if portraits else None,
            truth=True if dataset.traits.has_truth and not take else None,
        )
        pictures = "portraits of " if portraits else ""
        return self._add(inputs, f"{dataset.name} · {pictures}{len(identities)} {group} identities")

    def prior(self, prior: Resolved | None = None, target: Node | None = None) -> Node:
        """A prior trained on public identities: the protocol's, or another that an attack brings.

        Args:
            prior: the other one.
            target: what its training may ask, if it wants to.
        """
        prior = prior or self.fixed.prior
        guide = target if prior.traits.needs_target else None
        trained, _ = prior.traits.split(prior.params)
        inputs = PriorInputs(
            public=self._prior_images().ref,
            target=guide.ref if guide else None,
            prior=replace(prior.entry(), params=trained),
            seed=self.fixed.protocol.prior.seed,
            image=self._seen,
            classes=len(self.fixed.identities.private) if guide else None,
        )
        return self._add(inputs, f"{prior.requested} {f'for {guide.label}' if guide else 'on public identities'}")

    def evaluators(self) -> dict[str, Node]:
        """The judges that are trained on the private data."""
        return {choice.name: self._evaluator(choice) for choice in self.fixed.protocol.evaluators}

    def target(self, model: Resolved, defense: Resolved, seed: int) -> Node:
        """The defended classifier."""
        label = f"{defense.requested} · {model.name} · seed {seed}"
        return self._target(label, model, self.fixed.protocol.recipe, seed, defense)

    def reconstruct(self, target: Node, attack: Resolved, seed: int, label: str, prior: Resolved | None = None) -> Node:
        """What an attack makes of a target, with the protocol's prior or its own."""
        prior, protocol = prior or self.fixed.prior, self.fixed.protocol
        _, deployed = prior.traits.split(prior.params)
        inputs = ReconstructInputs(
            target=target.ref,
            prior=self.prior(prior, target).ref,
            public=self._public_for(f"the attack {attack.name!r}").ref if attack.traits.needs_public else None,
            evaluators=self._judges() if attack.settled.uses_evaluator else {},
            attack=attack.entry(),
            seed=seed,
            image=protocol.image,
            budget=protocol.budget,
            deploy=deployed or None,
            attacked=self.fixed.attacked,
        )
        return self._add(inputs, label)

    def gold(self) -> Node:
        """Held-out private images, or second portraits, to be measured like reconstructions."""
        fixed = self.fixed
        portraits = fixed.gallery.images == "portraits"
        images = (
            self._people(fixed.identities.private, "private", 1) if portraits else self.data("private", judged=True)
        )
        inputs = GoldInputs(private=images.ref, split=self.split, split_name=fixed.split_name, attacked=fixed.attacked)
        return self._add(inputs, "second portraits" if portraits else "held-out private images")

    def measure(self, metric: Resolved, *, target: Node, images: Node | None, label: str) -> Node:
        """One metric on a target, or on images."""
        traits, judged = metric.traits, images is not None
        finds = "identities" in traits.needs
        others = self.distractors() if finds else None
        inputs = MeasureInputs(
            private=self.data("private", judged=judged).ref,
            target=target.ref if traits.subject == "target" or "target" in traits.needs else None,
            evidence=images.ref if images else None,
            evaluators=self._judges() if "evaluators" in traits.needs else {},
            metric=metric.entry(),
            embedder=self.fixed.embedder.entry() if "embedder" in traits.needs else None,
            split=self.split,
            split_name=self.fixed.split_name,
            image=self._seen if judged and self._seen != self._judged else None,
            gallery=self.gallery().ref if finds else None,
            distractors=others.ref if others else None,
        )
        return self._add(inputs, f"{metric.name} · {label}")

    def _judges(self) -> dict[str, Ref]:
        return {name: node.ref for name, node in self.evaluators().items()}

    def _public_for(self, who: str) -> Node:
        """Return the public images that something cannot do without."""
        if self.fixed.source is None and not self.fixed.identities.public:
            self._no_public(f"{who} needs their images")
        return self._prior_images()

    def _no_public(self, why: str) -> NoReturn:
        raise UsageError(f"{self.fixed.protocol.id} has no public people (split.public is 0), and {why}")

    def _prior_images(self) -> Node:
        source, choice = self.fixed.source, self.fixed.protocol.prior.source
        if source is None or choice is None:
            return self.data("public")
        identities = list(range(choice.identities))
        portraits = choice.images == "portraits"
        inputs = DataInputs(
            dataset=source.entry(),
            identities=identities,
            image=self._seen,
            portraits=0 if portraits else None,
        )
        pictures = "portraits of " if portraits else ""
        return self._add(inputs, f"{source.name} · {pictures}{len(identities)} public identities")

    def _evaluator(self, choice: Evaluator) -> Node:
        model, recipe = self.fixed.evaluators[choice.name], choice.recipe
        start = self._pretrain(model, recipe, judged=True).ref if recipe.start == "public" else None
        inputs = EvaluatorInputs(
            private=self.data("private", judged=True).ref,
            start=start,
            model=model.entry(),
            recipe=recipe,
            seed=choice.seed,
            image=self._judged,
            split=self.split,
            precision=self.fixed.protocol.precision,
            least_accuracy=choice.least_accuracy,
        )
        return self._add(inputs, f"{choice.name} · {model.name}")

    def _target(self, label: str, model: Resolved, recipe: Recipe, seed: int, defense: Resolved) -> Node:
        start = self._start(label, model, recipe, seed, defense)
        both = start is not None and start.stage != PretrainInputs.stage and recipe.start == "public"
        inputs = TargetInputs(
            private=self.data("private").ref,
            start=start.ref if start else None,
            pretrain=self._pretrain(model, recipe, judged=False).ref if both else None,
            model=model.entry(),
            defense=defense.entry(),
            recipe=recipe,
            seed=seed,
            image=self._seen,
            split=self.split,
            precision=self.fixed.protocol.precision,
        )
        return self._add(inputs, label)

    def _start(self, label: str, model: Resolved, recipe: Recipe, seed: int, defense: Resolved) -> Node | None:
        """Return the training that comes before, if the defense or the recipe wants one."""
        if defense.settled.start is not None:
            return self._target(f"{label} · start", model, recipe.before_another(), seed, defense.start())
        wanted = defense.settled.starts or recipe.start == "public"
        return self._pretrain(model, recipe, judged=False) if wanted else None

    def _pretrain(self, model: Resolved, recipe: Recipe, *, judged: bool) -> Node:
        """Plain training on the public identities; one for all seeds and defenses."""
        plain = recipe.before_another().model_copy(update={"start": "random"})
        split = self.fixed.protocol.split
        if not self.fixed.identities.public:
            self._no_public("a training on public people comes first")
        inputs = PretrainInputs(
            public=self.data("public", judged=judged).ref,
            model=model.entry(),
            recipe=plain,
            seed=0,
            image=self._judged if judged else self._seen,
            classes=len(self.fixed.identities.public),
            precision=self.fixed.protocol.precision,
            validation=HoldOut(images=split.val, seed=split.seed) if plain.validates else None,
        )
        return self._add(inputs, f"{model.name} on public identities")

    def _add(self, inputs: Inputs, label: str) -> Node:
        node = Node(inputs, label, self._files)
        return self.nodes.setdefault(node.key, node)
