"""Light, frozen descriptions of components, so that a plugin can be listed without being imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from mibench.api.columns import Column as Column
from mibench.api.columns import MetricFlag

API_VERSION = "1"
"""Major version of the plugin contract. A plugin that states another one is reported and not loaded."""

Kind = Literal["dataset", "model", "prior", "defense", "attack", "metric", "executor", "protocol", "importer", "study"]
SETTABLE: tuple[Kind, ...] = ("defense", "attack", "model", "prior")
"""Kinds whose parameters a request may set (a prior's only where an attack brings it); the rest is the protocol's."""
READS_FILES: tuple[Kind, ...] = ("dataset", "model", "prior")
"""Kinds that can lack files, and are asked before anything runs."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One component, described by its plugin.

    Attributes:
        name: what users type; lower-case letters, digits, ``-`` and ``.``.
        factory: import string ``"module:Class"`` of the component; imported only when it is used.
        version: version of the *numbers*: raise it when the same parameters give different results. Part of cache keys.
        summary: one line for listings.
        paper: BibTeX entry, or the name of a ``.bib`` file beside the plugin's module.
        licence: SPDX identifier of code and of shipped data.
        api: major version of the plugin contract that the plugin was written for.

    Raises:
        ValueError: for a malformed name or factory.
    """

    kind: ClassVar[Kind]
    name: str
    factory: str
    summary: str
    version: str = "1"
    paper: str | None = None
    licence: str = "MIT"
    api: str = API_VERSION

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"component name {self.name!r}: use lower-case letters, digits, '-' and '.'")
        if not _FACTORY.fullmatch(self.factory):
            raise ValueError(f"factory of {self.name!r} is {self.factory!r}; expected an import string 'module:Class'")
        for field, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, field) not in get_args(hint):
                listed = ", ".join(map(repr, get_args(hint)))
                raise ValueError(f"{field} of {self.name!r} is {getattr(self, field)!r}; expected one of {listed}")

    @property
    def asked_as(self) -> str:
        """What to ask for it by, unique among components of its kind."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A labelled set of images of identities (or other private classes).

    Attributes:
        reconstructions: whether what attacks make of its private classes may be published, by its licence and by what
            its people agreed to. ``"private"`` unless its plugin says otherwise.
        terms: why, in a sentence: what the licence says, and who has to be named.
    """

    kind: ClassVar[Kind] = "dataset"
    reconstructions: Literal["publish", "private"] = "private"
    terms: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A classifier architecture, or an embedder that judges identity.

    Attributes:
        role: ``"classifier"`` (trainable) or ``"embedder"`` (fixed, never trained on private data).
    """

    kind: ClassVar[Kind] = "model"
    role: Literal["classifier", "embedder"] = "classifier"


@dataclass(frozen=True, kw_only=True)
class PriorSpec(Spec):
    """A generator of images that the attacker can train on public data."""

    kind: ClassVar[Kind] = "prior"


@dataclass(frozen=True, kw_only=True)
class DefenseSpec(Spec):
    """A way to train (or wrap) a classifier that is meant to leak less.

    Attributes:
        threat_model: ``"white-box"`` if it is meant to hold against an attacker who sees the weights, ``"black-box"``
            if such an attacker looks through it.
        family: how it means to protect, e.g. ``"dependency"`` (less information about the input), ``"gradient"``
            (gradients that mislead the attack), ``"deception"``, ``"data"``, ``"adversarial"``, ``"output"``;
            ``"none"`` for plain training. A protocol's undefended control is of that family or names none.
        limits: known limits, one sentence each.
    """

    kind: ClassVar[Kind] = "defense"
    threat_model: Literal["white-box", "black-box"] = "white-box"
    family: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AttackSpec(Spec):
    """A model-inversion attack.

    Attributes:
        access: what of the target it uses.
        baseline: true for attacks that optimise nothing and serve as controls.
    """

    kind: ClassVar[Kind] = "attack"
    access: Literal["white-box", "scores", "labels"] = "white-box"
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A measurement on a target or on reconstructions.

    Attributes:
        group: the column family it belongs to.
        columns: all columns that it reports; empty if it does not say, and then no board can check them.
        flags: flags that its measurements may raise.
    """

    kind: ClassVar[Kind] = "metric"
    group: Literal["utility", "leakage", "robustness", "dependency", "cost"] = "leakage"
    columns: tuple[Column, ...] = ()
    flags: tuple[MetricFlag, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(Spec):
    """A way to run the stages of a plan."""

    kind: ClassVar[Kind] = "executor"


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec(Spec):
    """A frozen protocol.

    Attributes:
        file: ``"package:path"`` of its YAML, which lies in an installed package.
        factory: the class that the file is read into; the same for all protocols.
        trial: whether it only shows that everything works, and its numbers mean nothing; it is never chosen by its
            dataset alone.
        superseded: whether this is an older version of a protocol, which is asked for as ``name@version`` alone.
        audit: whether it is what ``mibench audit`` fills in: the settings for networks that come trained, without data.
            Its dataset takes the folders ``private``, ``heldout`` and ``public``; its model the parameters of
            ``mibench.audit.network``, and so does every model that its presets name.
    """

    kind: ClassVar[Kind] = "protocol"
    file: str
    factory: str = "mibench.protocol.schema:Protocol"
    trial: bool = False
    superseded: bool = False
    audit: bool = False

    @property
    def asked_as(self) -> str:
        """``name``, or ``name@version`` of an older version."""
        return f"{self.name}@{self.version}" if self.superseded else self.name


@dataclass(frozen=True, kw_only=True)
class ImporterSpec(Spec):
    """A reader of foreign files (:class:`mibench.api.Importer`), behind ``mibench data import-NAME``."""

    kind: ClassVar[Kind] = "importer"


@dataclass(frozen=True, kw_only=True)
class StudySpec(Spec):
    """A question with arms, an analysis of their records, and a verdict (:class:`mibench.api.Study`)."""

    kind: ClassVar[Kind] = "study"
