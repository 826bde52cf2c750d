"""The protocol of an audit: a template, filled in with folders, network and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mibench.api.errors import UsageError
from mibench.audit.network import STRUCTURE, WHOLE
from mibench.audit.people import People
from mibench.audit.request import SAME, AuditRequest
from mibench.base.files import write_atomic
from mibench.plan.resolve import parse_choice
from mibench.protocol.load import LoadedProtocol, load_protocol
from mibench.protocol.strict_yaml import parse_yaml
from mibench.registry.registry import Registry

NAME, FILE = "audit", "protocol.yaml"
_STRENGTH = {"labels": 0, "scores": 1, "white-box": 2}


@dataclass(frozen=True)
class Template:
    """The settings that an audit begins with.

    Attributes:
        loaded: the protocol.
        raw: its content.
    """

    loaded: LoadedProtocol
    raw: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Name of the model that stands for networks which come trained."""
        return self.loaded.protocol.model.name

    @property
    def dataset(self) -> str:
        """Name of the dataset that reads the folders."""
        return self.loaded.protocol.dataset.name

    @property
    def fresh(self) -> list[str]:
        """Names of models that take over the structure of the network and are trained here."""
        return list(self.loaded.protocol.presets.model)


def find_template(registry: Registry, name: str | None) -> Template:
    """Return the protocol that an audit fills in.

    Args:
        registry: where installed ones are found.
        name: of one, or a YAML file; ``None`` for the only one that is made for audits.

    Raises:
        UsageError: if none is installed, or several are and none was named, or for a file that is no protocol.
    """
    known = [entry.name for entry in registry.entries("protocol") if getattr(entry.spec, "audit", False)]
    if name is None and len(known) != 1:
        told = f"choose one of {', '.join(known)} with --template" if known else 'run: pip install "mibench[all]"'
        raise UsageError(f"{len(known) or 'no'} protocols for audits are installed; {told}")
    if name is not None and name not in known and not name.lower().endswith((".yaml", ".yml")):
        listed = ", ".join(known) or "none"
        raise UsageError(f"--template {name}: it is made for no audit; expected a YAML file, or one of: {listed}")
    loaded = load_protocol(registry, name or known[0])
    raw = parse_yaml(loaded.text, loaded.id)
    return Template(loaded, dict(raw))


def dataset_params(request: AuditRequest) -> dict[str, str]:
    """Return the folders, as absolute paths."""
    folders = {name: getattr(request, name) for name in ("private", "heldout", "public")}
    return {name: str(folder.absolute()) for name, folder in folders.items() if folder is not None}


def choose_attacks(request: AuditRequest, template: Template, registry: Registry) -> list[str]:
    """Return the attacks of an audit: those that were named, or those of the template that need no more than is given.

    Raises:
        UsageError: for an unknown attack, one that needs more, or if none is left.
    """
    given = _STRENGTH[request.access]
    asked = request.attacks or template.loaded.protocol.suite
    needs = {text: _access(registry, parse_choice(text).name) for text in asked}
    fitting = [text for text, access in needs.items() if _STRENGTH[access] <= given]
    if request.attacks and len(fitting) < len(needs):
        text = next(text for text in needs if text not in fitting)
        raise UsageError(f"the attack {text!r} needs {needs[text]} access; the audit grants {request.access}")
    if not fitting:
        able = [e.name for e in registry.entries("attack") if _works(e.spec, given)]
        told = f"Name one: --attack {able[0]}." if able else "No attack that is installed works with so little."
        raise UsageError(f"no attack of {template.loaded.id} works with {request.access} access alone. {told}")
    return fitting


def choose_twin(request: AuditRequest, template: Template, params: Mapping[str, Any]) -> str | None:
    """Return the model that is trained beside the network, if one is wanted.

    Raises:
        UsageError: if the network's own structure is wanted and not known.
    """
    if request.twin != SAME:
        return request.twin
    if params["network"] == WHOLE or not template.fresh:
        raise UsageError(
            "--twin: a file that holds a network whole cannot be trained afresh. Name a model to train in its place:"
            " --twin NAME (see: mibench list models)"
        )
    return template.fresh[0]


def draft(
    request: AuditRequest,
    template: Template,
    people: People,
    params: Mapping[str, Any],
    side: int,
    attacks: Sequence[str],
) -> str:
    """Return the YAML of an audit's protocol."""
    raw = dict(template.raw)
    structure = {name: params[name] for name in STRUCTURE if name in params}
    presets = dict(raw.get("presets", {}))
    presets["model"] = dict.fromkeys(template.fresh, structure) if params["network"] != WHOLE else {}
    split = {"private": len(people.names), "public": people.public, "train": people.train, "test": people.test}
    filled = {
        "name": NAME,
        "summary": f"audit of {request.model}",
        "dataset": {"name": template.dataset, "params": dataset_params(request)},
        "image": {"size": side, "channels": request.channels},
        "split": {**raw["split"], **split},
        "model": {"name": template.model, "params": dict(params)},
        "suite": list(attacks),
        "presets": presets,
    }
    if request.prior is not None:
        choice = parse_choice(request.prior)
        filled["prior"] = {"name": choice.name, **({"preset": choice.preset} if choice.preset else {})}
    plain = json.loads(json.dumps({**raw, **filled}))  # what stands in two places is written twice, without aliases
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return f"# Made by mibench audit. To repeat it: mibench run --protocol {FILE}\n{text}"


def keep_protocol(folder: Path, text: str) -> Path:
    """Write an audit's protocol, or find the same one there.

    Raises:
        UsageError: if the folder holds another audit.
    """
    path = folder / FILE
    if path.is_file() and (old := path.read_text(encoding="utf-8")) != text:
        changed = _changed(dict(parse_yaml(old, str(path))), dict(parse_yaml(text, "protocol")))
        raise UsageError(
            f"{folder} holds another audit: it differs in {', '.join(changed) or 'its text'}. Choose another folder"
            " with --output, or remove that one."
        )
    return path if path.is_file() else write_atomic(path, text)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _access(registry: Registry, attack: str) -> str:
    return str(getattr(registry.get("attack", attack).spec, "access", "white-box"))


def _works(spec: Any, given: int) -> bool:
    return _STRENGTH[spec.access] <= given and not spec.baseline
