"""``mibench show``: everything about one component."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import UsageError
from mibench.cli.list import describe
from mibench.cli.terminal import echo, echo_json, echo_table
from mibench.registry.kinds import SPEC_TYPES, as_kind
from mibench.registry.papers import paper_of
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry, load_registry
from mibench.results.display import printable

if TYPE_CHECKING:
    from mibench.api.attack import Attack
    from mibench.plan.memo import Memo
    from mibench.protocol.presets import Presets


@click.command()
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(kind: str, name: str, as_json: bool) -> None:
    """Show the component NAME of KIND, e.g. `mibench show defense atat`."""
    registry = load_registry()
    entry = _installed(registry, name) if as_kind(kind) == "protocol" else registry.get(kind, name)
    document = {**describe(entry), "paper": paper_of(entry)}
    document |= _protocol(registry, entry) if entry.kind == "protocol" else _component(registry, entry)
    if as_json:
        echo_json(document)
    else:
        _print(document)


def _installed(registry: Registry, name: str) -> Registered:
    from mibench.protocol.load import installed

    found: Registered = installed(registry, name)
    return found


def _component(registry: Registry, entry: Registered) -> dict[str, Any]:
    from mibench.protocol.presets import Presets

    memo, presets = _memory(registry), Presets(registry)
    found = _asked(registry, entry, memo, presets)
    if memo.changed:  # what is slow is done; who looks at one component looks at its neighbours next
        for other in (one for kind in SPEC_TYPES if kind != "protocol" for one in registry.entries(kind)):
            if other.distribution == entry.distribution:
                with contextlib.suppress(Exception):  # a broken neighbour has its turn when it is asked for
                    _asked(registry, other, memo, presets)
    memo.save()
    return {"source_digest": registry.source_digest(entry), **_with_tuples(found)}


def _memory(registry: Registry) -> Memo:
    from mibench.plan.facts import Facts
    from mibench.store.store import default_root

    try:
        return Facts.beside(registry, default_root()).memo
    except UsageError:  # nobody's home: nothing is remembered
        return Facts(registry).memo


def _asked(registry: Registry, entry: Registered, memo: Memo, presets: Presets) -> Any:
    # The memory knows nothing of protocols, whose files may change while the code stays.
    question = {"ask": "show", "kind": entry.kind, "name": entry.name, "protocols": presets.installed()}
    return memo.ask(question, lambda: _describe(registry.component(entry.kind, entry.name), entry, presets))


def _describe(component: type[Any], entry: Registered, presets: Presets) -> dict[str, Any]:
    from mibench.api import params

    rows = params.describe(component)
    names, owner = params.names_of(component), component.__name__
    found = {name: names.flatten(values, owner) for name, values in params.presets_of(component).items()}
    for name, values in presets.all(entry.kind, entry.name, found).items():
        with contextlib.suppress(UsageError):  # what a protocol has wrong is said when it is used
            params.build(component, values)
            found[name] = names.flatten(values, owner)
    groups = params.docs_of_groups(component) if is_dataclass(component) else {}
    shown = {"parameters": [row._asdict() for row in rows], "groups": groups, "presets": found}
    return {**shown, **_costs(component, found)}


def _with_tuples(found: Any) -> Any:
    """Show sequences as a component writes them; a remembered answer has lists."""
    if isinstance(found, Mapping):
        return {name: _with_tuples(value) for name, value in found.items()}
    if isinstance(found, list) and not any(isinstance(value, Mapping) for value in found):
        return tuple(_with_tuples(value) for value in found)
    return [_with_tuples(value) for value in found] if isinstance(found, list) else found


def _costs(component: Any, presets: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component costs by its own formula, for its defaults and each preset.

    For a defense one training step relative to plain training; for an attack the images that pass the target forwards
    and backwards and that the prior renders, shared by all classes and for each class.
    """
    from mibench.api import params
    from mibench.api.attack import Attack
    from mibench.api.defense import Defense

    settings: dict[str, Mapping[str, Any]] = {"defaults": {}, **presets}
    made = {name: params.build(component, values) for name, values in settings.items()}
    if issubclass(component, Defense):
        return {"cost": {name: round(one.cost(), 2) for name, one in made.items()}}
    if issubclass(component, Attack):
        priors = {name: one.prior_choice() for name, one in made.items()}
        queries = {name: _queries(one) for name, one in made.items()}
        return {"brings_prior": priors, "queries": {name: found for name, found in queries.items() if found}}
    return {}


def _queries(attack: Attack) -> dict[str, Mapping[str, int]] | None:
    try:
        one, two = attack.cost(1), attack.cost(2)
    except NotImplementedError:
        return None
    each = {name: two[name] - one[name] for name in one}
    return {"shared": {name: one[name] - each[name] for name in one}, "per_class": each}


def _protocol(registry: Registry, entry: Registered) -> dict[str, Any]:
    from mibench.protocol.load import load_protocol
    from mibench.protocol.presets import Presets

    loaded = load_protocol(registry, entry.name)
    presets = {" ".join(part): said for part, said in Presets(registry).listed(loaded.protocol).items()}
    content = loaded.protocol.model_dump(mode="json")
    return {"digest": loaded.digest, "content": content, "text": loaded.text, "presets": presets}


def _print(document: dict[str, Any]) -> None:
    shown = {"parameters", "groups", "presets", "content", "text", "paper", "cost", "limits", "queries", "brings_prior"}
    facts = [(key, value) for key, value in document.items() if key not in shown and value not in (None, "")]
    echo_table(["", ""], facts)
    for title in ("paper", "text"):
        if document.get(title):
            echo()
            echo(title, bold=True)
            echo("\n".join(printable(line) for line in document[title].rstrip().splitlines()))
    if "parameters" in document:
        _print_parameters(document["parameters"], document["groups"])
    if "cost" in document:
        echo()
        echo_table(
            ["parameters", "times none"],
            list(document["cost"].items()),
            title="cost of a training step, in network passes",
        )
    if document.get("queries"):
        _print_queries(document["queries"])
    if document.get("limits"):
        echo()
        echo("known limits", bold=True)
        for limit in document["limits"]:
            echo(f"- {printable(limit)}")
    if any(document.get("brings_prior", {}).values()):
        echo()
        brought = [(name, prior or "the protocol's") for name, prior in document["brings_prior"].items()]
        echo_table(["parameters", "prior"], brought, title="prior that it attacks with")
    if presets := [(name, _settings(said)) for name, said in document.get("presets", {}).items()]:
        echo()
        echo_table(["name", "differs from the defaults in"], presets, title=f"presets ({len(presets)})")


def _settings(said: str | Mapping[str, Any]) -> str:
    """Return a preset in one line; a protocol may name one of the component's own."""
    return f"its preset {said}" if isinstance(said, str) else ", ".join(f"{k}={v!r}" for k, v in said.items())


def _print_parameters(parameters: Sequence[Mapping[str, Any]], groups: Mapping[str, str]) -> None:
    """Print parameters, those of a group below a line about the group, and other names where there are any."""
    rows: list[tuple[Any, ...]] = []
    begun = set()
    for row in parameters:
        around = row["name"].rpartition(".")[0]
        if around in groups and around not in begun:
            begun.add(around)
            rows.append((around, "", "", "", "", groups[around]))
        short = "" if row["key"] == row["name"] else row["key"]
        rows.append((row["name"], short, row["type"], row["default"], row["range"], row["doc"]))
    head = ["name", "short name", "type", "default", "range", "meaning"]
    if not any(row[1] for row in rows):
        head, rows = [head[0], *head[2:]], [(row[0], *row[2:]) for row in rows]
    echo()
    echo_table(head, rows, title=f"parameters ({len(parameters)})")


def _print_queries(queries: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    kinds = ("forward", "backward", "render")
    rows = [
        (name, *(f"{found[part][kind]:,}" for part in ("per_class", "shared") for kind in kinds))
        for name, found in queries.items()
    ]
    head = ["parameters", "forward", "backward", "render", "forward (shared)", "backward (shared)", "render (shared)"]
    echo()
    echo_table(head, rows, title="images per class through target and prior, by formula; shared: once for all classes")
