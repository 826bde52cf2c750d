"""What a plan has to know of components: found by importing them once, remembered while the installed code stays.

So a plan whose answers are known, and a run whose every stage is cached, import no component and not torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mibench.api import params
from mibench.api.copies import copy_file
from mibench.api.errors import UsageError
from mibench.api.params import Names
from mibench.plan.memo import Memo
from mibench.protocol.presets import Presets
from mibench.registry.build import Components
from mibench.registry.entry import Entry
from mibench.registry.files import PREFIX, digest_of_path
from mibench.registry.joint import join_names
from mibench.registry.registry import Registry


@dataclass(frozen=True)
class Traits:
    """What a component's class says, whatever its parameters are.

    Attributes:
        fields: all names of its parameters and groups.
        groups: dotted names of its groups of parameters.
        flat: flat name of each parameter that has one beside its dotted name.
        presets: named parameter sets of the class, by the names that keys hold; protocols may have more.
        deployed: parameters that only act in deployment (:class:`mibench.api.InferenceOnly`).
        files: parameters that name files, each with the values that name none.
        copies: those of them that stand for a prepared copy, each with the name of its dataset.
        access: what an attack sees of the target.
        needs_public: whether an attack reads the public images.
        needs_target: whether a prior's training asks the target.
        subject: what a metric measures.
        needs: what a metric reads.
        checks_prior: whether an attack refuses some priors.
        states_missing: whether it may lack files.
        has_portraits: whether a dataset has portraits of its identities.
        has_truth: whether a dataset may know more of its identities than their pictures.
    """

    fields: list[str]
    groups: list[str]
    flat: dict[str, str]
    presets: dict[str, dict[str, Any]]
    deployed: list[str]
    files: dict[str, list[str]]
    copies: dict[str, str]
    access: str | None
    needs_public: bool
    needs_target: bool
    subject: str
    needs: list[str]
    checks_prior: bool
    states_missing: bool
    has_portraits: bool
    has_truth: bool

    def names(self) -> Names:
        """Return what its parameters are called."""
        return Names(self.groups, self.flat)

    def split(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return canonical parameters in two parts: the others, and those that only act in deployment."""
        later = {name: value for name, value in values.items() if name in self.deployed}
        return {name: value for name, value in values.items() if name not in later}, later


@dataclass(frozen=True)
class Settled:
    """A component's parameters, and what it says with them.

    Attributes:
        params: all of them as plain JSON, digests in the place of files.
        prior: ``name`` or ``name/preset`` of the prior that an attack brings.
        uses_evaluator: whether an attack chooses by an evaluator.
        starts: whether a defense starts from another training.
        start: ``params``, ``starts`` and ``start`` of the defense that it starts from; ``None`` for plain training on
            public identities.
        files: digest to path of the files that parameters name.
    """

    params: Mapping[str, Any]
    prior: str | None = None
    uses_evaluator: bool = False
    starts: bool = False
    start: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)


class Facts:
    """Asks components, through a memory; what has to be asked is built and validated once.

    Args:
        registry: where components are found.
        memo: of earlier answers.
        lenient: whether files that are not there are only noted, so that a plan can say all that is missing.

    Attributes:
        absent: what was noted, one sentence each.
        presets: finds presets of components in protocols.
        components: those that had to be asked.
    """

    def __init__(self, registry: Registry, memo: Memo | None = None, *, lenient: bool = False) -> None:
        self.registry, self.memo = registry, memo or Memo()
        self.lenient, self.absent = lenient, list[str]()
        self.presets = Presets(registry)
        self.components = Components(registry)

    @classmethod
    def beside(cls, registry: Registry, store: Path, *, lenient: bool = False) -> Facts:
        """Return the facts that are remembered beside a store."""
        fingerprint, packages = registry.fingerprint()
        return cls(registry, Memo(store / "facts", fingerprint, packages), lenient=lenient)

    def lacks(self, sentence: str) -> None:
        """Say that a file is not there.

        Raises:
            UsageError: unless that is only noted.
        """
        if not self.lenient:
            raise UsageError(sentence)
        self.absent += [] if sentence in self.absent else [sentence]

    def traits(self, kind: str, name: str) -> Traits:
        """Return what a component's class says.

        Raises:
            UsageError: for an unknown name.
            PluginError: if it cannot be imported.
        """
        registered = self.registry.get(kind, name)
        question = {"ask": "traits", "kind": registered.kind, "name": name}
        return Traits(**self.memo.ask(question, lambda: _traits(registered.kind, self.registry.component(kind, name))))

    def settle(self, kind: str, name: str, settings: Mapping[str, Any]) -> Settled:
        """Validate parameters and return all of them, with what the component says about itself.

        Args:
            kind: of the component.
            name: of the component.
            settings: those that differ from the defaults.

        Raises:
            UsageError: for an unknown name or key, a value out of range, or a file that is not there.
        """
        traits = self.traits(kind, name)
        settings = traits.names().flatten(settings, f"{kind} {name!r}")
        settings |= {parameter: found for parameter, found in self._copies(traits.copies, settings).items() if found}
        places = self._places(kind, name, settings)
        files = {found: path for found, path in places.values() if found}
        named = {parameter: found for parameter, (found, _) in places.items()}
        question = {"ask": "settle", "kind": kind, "name": name, "settings": settings, "files": named}
        if self.lenient and not all(named.values()):
            return Settled(**self._settle(kind, name, settings, named), files=files)
        answer = self.memo.ask(question, lambda: self._settle(kind, name, settings, named))
        return Settled(**answer, files=files)

    def join(self, parts: Mapping[str, Settled]) -> Settled:
        """Return defenses used together as one.

        Raises:
            UsageError: if they cannot be combined.
        """
        values = {name: dict(part.params) for name, part in parts.items()}
        entry = Entry(join_names(parts), "", values)
        files = {found: path for part in parts.values() for found, path in part.files.items()}
        self.registry.files.update(files)
        answer = self.memo.ask(
            {"ask": "join", "name": entry.name, "params": values},
            lambda: _start(self.components.build("defense", entry)),
        )
        return Settled(values, **answer, files=files)

    def cost(self, entry: Entry) -> float:
        """Return the cost of a defense's training step in units of plain training's."""
        question = {"ask": "cost", "name": entry.name, "params": dict(entry.params)}

        def cost() -> float | str:
            stated = float(self.components.build("defense", entry).cost())
            return stated if math.isfinite(stated) else str(stated)  # as JSON holds it

        return float(self.memo.ask(question, cost))

    def identities(self, entry: Entry) -> int:
        """Return how many identities a dataset has."""
        question = {"ask": "identities", "name": entry.name, "params": dict(entry.params)}
        return int(self.memo.ask(question, lambda: self.components.build("dataset", entry).num_identities()))

    def groups(self, entry: Entry) -> dict[str, list[str]]:
        """Return by attribute the group of each identity of a dataset."""

        def ask() -> dict[str, list[str]]:
            found = self.components.build("dataset", entry).groups()
            return {attribute: [str(group) for group in own] for attribute, own in found.items()}

        answer = self.memo.ask({"ask": "groups", "name": entry.name, "params": dict(entry.params)}, ask)
        return {attribute: list(own) for attribute, own in answer.items()}

    def fewest_images(self, entry: Entry, identities: Sequence[int]) -> int | None:
        """Return how many images the identity with the fewest has; ``None`` if the dataset does not say."""

        def count() -> dict[str, Any]:
            dataset = self.components.build("dataset", entry)
            numbers = [dataset.num_images(identity) for identity in identities]
            return {"fewest": min((number for number in numbers if number is not None), default=None)}

        question = {"ask": "images", "name": entry.name, "params": dict(entry.params), "identities": list(identities)}
        fewest: int | None = self.memo.ask(question, count)["fewest"]
        return fewest

    def missing(self, kind: str, entry: Entry) -> list[str]:
        """Return what a component lacks before it can work. Only that it lacks nothing is remembered."""
        if not self.traits(kind, entry.name).states_missing:
            return []
        found: list[str] = []

        def complete() -> bool | None:
            found.extend(self.components.build(kind, entry).missing())
            return None if found else True

        self.memo.ask({"ask": "complete", "kind": kind, "name": entry.name, "params": dict(entry.params)}, complete)
        return found

    def check_recipe(self, entry: Entry, **recipe: int) -> None:
        """Let a defense refuse a recipe (see :meth:`mibench.api.Defense.check_recipe`).

        Raises:
            UsageError: if it does.
        """

        def accepted() -> bool:
            self.components.build("defense", entry).check_recipe(**recipe)
            return True

        self.memo.ask({"ask": "recipe", "name": entry.name, "params": dict(entry.params), **recipe}, accepted)

    def _copies(self, copies: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
        """Return where the prepared copies are that parameters stand for: one that is there, or the one that is named.

        Raises:
            UsageError: if the copy that is named by its digest is another than the one that was prepared.
        """
        found = {}
        for parameter, dataset in copies.items():
            wanted = str(settings.get(parameter, ""))
            if wanted and not (wanted.startswith(PREFIX) and wanted not in self.registry.files):
                continue
            place = copy_file(dataset)
            here = digest_of_path(place) if place.is_file() else ""
            if wanted and here != wanted:
                self.lacks(
                    f"the copy of {dataset} that is wanted has {wanted[:19]}..., and "
                    + (f"the one in {place.parent} has {here[:19]}..." if here else "none was prepared")
                    + f"; prepare it: mibench data prepare {dataset} --from FOLDER"
                )
            found[parameter] = str(place) if here else ""
        return found

    def _places(self, kind: str, name: str, settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Return digest and path of each parameter that names a file; no digest if there is none."""
        found = {}
        for parameter, none in self.traits(kind, name).files.items():
            value = settings.get(parameter)
            if not isinstance(value, str) or value in none:
                continue
            if value.startswith(PREFIX):
                found[parameter] = (value, self.registry.files.get(value, ""))
                continue
            try:
                path = Path(value).expanduser()
                found[parameter] = (digest_of_path(path), str(path.absolute()))
            except (OSError, RuntimeError, ValueError):  # not there, no such home, a zero byte in the name
                found[parameter] = ("", value)
        return found

    def _settle(self, kind: str, name: str, settings: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
        owner = f"{kind} {name!r}"
        made = params.build(self.registry.component(kind, name), settings, owner=owner)
        for parameter, found in files.items():
            if not found:
                self.lacks(_absent(made, owner, parameter, settings[parameter]))
        there = {parameter: found for parameter, found in files.items() if found}
        answer: dict[str, Any] = {"params": {**params.canonical(made), **there}}
        self.components.remember(kind, Entry(name, "", answer["params"]), made)
        if kind == "attack":
            return {**answer, "prior": made.prior_choice(), "uses_evaluator": bool(made.uses_evaluator())}
        return {**answer, **_start(made)} if kind == "defense" else answer


def _traits(kind: str, component: Any) -> dict[str, Any]:
    from mibench.api.attack import Attack
    from mibench.api.classifier import Embedder, Model
    from mibench.api.data import Dataset
    from mibench.api.prior import PriorModel

    silent = [base.missing for base in (Dataset, Embedder, Model, PriorModel)]
    rows = params.describe(component)
    names = params.names_of(component)
    presets = {
        preset: names.flatten(values, f"{kind} {component.__name__}, preset {preset!r}")
        for preset, values in params.presets_of(component).items()
    }
    found = Traits(
        fields=list(dict.fromkeys(name for row in rows for name in (row.key, row.name))) + sorted(names.groups),
        groups=sorted(names.groups),
        flat=dict(names.flat),
        presets=json.loads(json.dumps(presets, default=str)),
        deployed=params.inference_only_names(component),
        files={name: list(none) for name, none in params.file_parameters(component).items()},
        copies=params.copy_parameters(component),
        access=str(component.access) if hasattr(component, "access") else None,
        needs_public=bool(getattr(component, "needs_public", False)),
        needs_target=bool(getattr(component, "needs_target", False)),
        subject=str(getattr(component, "subject", "")),
        needs=sorted(getattr(component, "needs", ())) if kind == "metric" else [],
        checks_prior=getattr(component, "check_prior", Attack.check_prior) is not Attack.check_prior,
        states_missing=getattr(component, "missing", PriorModel.missing) not in silent,
        has_portraits=getattr(component, "portraits", Dataset.portraits) is not Dataset.portraits,
        has_truth=getattr(component, "truth", Dataset.truth) is not Dataset.truth,
    )
    return dataclasses.asdict(found)


def _start(defense: Any) -> dict[str, Any]:
    wanted = defense.starts_from()
    earlier = None if wanted is None else wanted.defense
    if earlier is None:
        return {"starts": wanted is not None, "start": None}
    parts = getattr(earlier, "parts", None)
    found = {name: params.canonical(part) for name, part in parts.items()} if parts else params.canonical(earlier)
    return {"starts": True, "start": {"params": found, **_start(earlier)}}


def _absent(made: Any, owner: str, parameter: str, value: str) -> str:
    missing = getattr(made, "missing", None)
    told = list(missing()) if callable(missing) else []
    return " ".join(told) or f"{owner}: {parameter} = {value!r} does not exist. Give the path of an existing file."
