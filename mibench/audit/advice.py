"""What an audit does not show, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mibench.audit.draft import Template
from mibench.audit.findings import Findings
from mibench.audit.prepare import Prepared
from mibench.registry.registry import Registry

EXPERIMENT = "experiment"
"""Family of defenses that nobody would deploy."""


@dataclass(frozen=True)
class Suggestion:
    """A defense that would be worth trying.

    Attributes:
        name: what to type for it.
        summary: what it does.
        limits: what is known against it.
    """

    name: str
    summary: str
    limits: tuple[str, ...]


def limits(prepared: Prepared, found: Findings) -> Iterator[str]:
    """Yield what these numbers do not show, one sentence each."""
    request, people = prepared.request, prepared.people
    yield (
        "The attacks here are a lower bound: another attack, a better generator, more public photographs or more time"
        " may recognise more people. That nobody is recognised is no proof that nothing leaks."
    )
    yield (
        "It is about pictures of people alone: not about who was in the training data (membership), nor about"
        " attributes, nor about single photographs that the network may have learned by heart."
    )
    if request.heldout is None:
        yield (
            f"No photographs were named that the network was not trained on, so {people.images[1]} of those in"
            " --private were held out here. If it was trained on these, its accuracy is too good to be true; --heldout"
            " FOLDER avoids that."
        )
    if request.access != "white-box":
        yield f"The attacker was granted {request.access} alone; somebody who gets hold of the weights can do more."
    if found.people < 10:
        yield f"With {found.people} people, chance alone moves these shares by a lot."
    if found.judge_is_blind:
        yield (
            "The judge of identity knows faces, and does not know these pictures. For pictures of other things than"
            " faces, look at what judges say that were trained on the private photographs, and at the pictures."
        )
    if found.twin is None:
        yield "There is no undefended twin beside the network (--twin), so it is open what a defense in it achieves."
    if request.any_accuracy and prepared.sanity.better is not None:
        yield f"The network was read as stated, though it is better if read otherwise: {prepared.sanity.better[0]}."
    yield (
        "Numbers of different audits compare only if people, photographs and settings are the same. No leaderboard"
        " takes them: nobody else can train this network again."
    )


def suggestions(prepared: Prepared, template: Template, registry: Registry) -> list[Suggestion]:
    """Return the installed defenses that are meant to hold against this attacker.

    An attacker who sees the weights looks through those that are meant against others. Experiments are left out.
    """
    plain = template.loaded.protocol.undefended.name
    seen = prepared.request.access == "white-box"
    specs = [entry.spec for entry in registry.entries("defense") if entry.name != plain]
    specs = [spec for spec in specs if getattr(spec, "family", "") != EXPERIMENT]
    held = [spec for spec in specs if getattr(spec, "threat_model", "") == "white-box" or not seen]
    return [Suggestion(spec.name, spec.summary, tuple(getattr(spec, "limits", ()))) for spec in held]


def command(prepared: Prepared, template: Template, defense: str) -> str:
    """Return the command that trains a defended network for the same people and attacks it in the same way."""
    structured = prepared.request.weights is not None and template.fresh
    model = template.fresh[0] if structured else prepared.twin or "MODEL"
    words = ["mibench", "run", "--protocol", shown(prepared.protocol), "--model", model, "--defense", defense]
    return shlex.join(words)


def shown(path: Path) -> str:
    """Return a path as people type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
