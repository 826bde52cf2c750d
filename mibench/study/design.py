"""The design of a study as a file: drawn and written once, read back by whoever continues the study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mibench.api import params
from mibench.api.errors import UsageError
from mibench.api.specs import DefenseSpec
from mibench.api.study import Arm, Design, Study, StudyContext
from mibench.base.files import write_atomic
from mibench.plan.choose import Chooser
from mibench.plan.facts import Facts
from mibench.plan.resolve import parse_choice
from mibench.plan.settings import Settings
from mibench.protocol.load import LoadedProtocol
from mibench.registry.registry import Registry
from mibench.study.request import StudyRequest

FILE = "design.json"


@dataclass(frozen=True)
class Written:
    """A design with what it was made for.

    Attributes:
        asked: the study, its parameters, claim and rule, the protocol and what else the numbers depend on.
        design: arms and notes.
    """

    asked: Mapping[str, Any]
    design: Design

    def text(self) -> str:
        """Return the file."""
        return json.dumps({**self.asked, "design": asdict(self.design)}, indent=1, sort_keys=True) + "\n"


def context(loaded: LoadedProtocol, request: StudyRequest, registry: Registry, store: Path) -> StudyContext:
    """Return what a study may know when it is designed."""
    facts = Facts.beside(registry, store)
    chooser = Chooser(loaded, facts, Settings({}, facts))
    specs = [entry.spec for entry in registry.entries("defense")]
    return StudyContext(
        protocol=loaded.id,
        undefended=loaded.protocol.undefended.name,
        seeds=request.seeds or loaded.protocol.seeds,
        defenses={spec.name: spec.family for spec in specs if isinstance(spec, DefenseSpec)},
        settled=lambda text: chooser.changed("defense", parse_choice(text)).params,
        folds=loaded.protocol.folds,
    )


def make_design(
    study: Study, request: StudyRequest, loaded: LoadedProtocol, registry: Registry, store: Path
) -> Written:
    """Return the design of a study, drawn anew."""
    asked = {
        "study": request.name,
        "version": registry.get("study", request.name).spec.version,
        "params": params.canonical(study),
        "claim": study.claim,
        "rule": study.rule,
        "protocol": loaded.id,
        "protocol_digest": loaded.digest,
        "model": request.model or loaded.protocol.model.name,
        "attacks": list(request.attacks or loaded.protocol.suite),
        "seeds": list(request.seeds or loaded.protocol.seeds),
    }
    return Written(asked, study.design(context(loaded, request, registry, store)))


def settled_design(written: Written, folder: Path) -> Written:
    """Return the design that a folder holds, if it was made for the same, else this one.

    Raises:
        UsageError: if the folder holds the design of something else, or a file that is none.
    """
    path = folder / FILE
    if not path.exists():
        return written
    found = read_design(path)
    other = [name for name in written.asked if _plain(written.asked[name]) != found.asked.get(name)]
    if other:
        raise UsageError(
            f"{path} was written for another study: {', '.join(other)} differ. Its assignments were drawn before its"
            " trainings and stay; choose another folder with --output."
        )
    return found


def keep_design(written: Written, folder: Path) -> None:
    """Write a design, unless the folder has one."""
    if not (folder / FILE).exists():
        write_atomic(folder / FILE, written.text())


def read_design(path: Path) -> Written:
    """Read a design.

    Raises:
        UsageError: if the file is none.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        made = raw.pop("design")
        arms = tuple(Arm(**{**arm, "seeds": tuple(arm["seeds"])}) for arm in made["arms"])
        return Written(raw, Design(arms=arms, notes=made["notes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not the design of a study: {error}. Choose another folder with --output."
        ) from None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
