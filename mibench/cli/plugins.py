"""``mibench plugins check``: put installed components to the contract of their kind, without pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, UsageError, unknown
from mibench.api.specs import MetricSpec
from mibench.cli.request import parse_settings
from mibench.cli.terminal import echo, echo_json
from mibench.registry.kinds import SPEC_TYPES, as_kind
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry, load_registry
from mibench.results.display import printable

if TYPE_CHECKING:
    from mibench.testing.component import Contract
    from mibench.testing.runner import Outcome

CHECKED = tuple(kind for kind in SPEC_TYPES if kind != "protocol")
"""A protocol has no contract: reading it is its check."""


@click.group()
def plugins() -> None:
    """Put components of plugins to the contract of their kind."""


@plugins.command()
@click.argument("names", nargs=-1)
@click.option("--kind", help="Kind of the components, where a name stands for several.")
@click.option("--distribution", help="Check all components of this pip distribution.")
@click.option("--preset", help="Named parameter set, of the component or a protocol: one that keeps it fast.")
@click.option("--set", "texts", multiple=True, metavar="KEY=VALUE", help="Parameter, e.g. attack.steps=3; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    names: tuple[str, ...],
    kind: str | None,
    distribution: str | None,
    preset: str | None,
    texts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check the components NAMES, or all of a distribution: one line per check of the contract of their kind.

    Exit code 0 if no check failed, 1 if one did.
    """
    registry = load_registry()
    entries = _entries(registry, names, as_kind(kind) if kind else None, distribution)
    settings = _settings(entries, parse_settings(texts))
    contracts = [_contract(registry, entry, preset, settings[entry.kind, entry.name]) for entry in entries]
    from mibench.testing.runner import run_checks

    rows: list[dict[str, Any]] = []
    for entry, contract in zip(entries, contracts, strict=True):
        if not as_json:
            echo(f"{entry.kind} {entry.name} ({entry.distribution} {entry.distribution_version})", bold=True)
        for outcome in run_checks(contract):
            rows.append({"kind": entry.kind, "name": entry.name, **asdict(outcome)})
            if not as_json:
                echo(_line(outcome))
    good = all(row["verdict"] in ("passed", "skipped") for row in rows)
    if as_json:
        echo_json({"passed": good, "checks": rows})
    ctx.exit(EXIT_OK if good else EXIT_FAILED_CELLS)


def _entries(
    registry: Registry, names: tuple[str, ...], kind: str | None, distribution: str | None
) -> list[Registered]:
    kinds = (kind,) if kind else CHECKED
    if bool(names) == (distribution is not None):
        raise UsageError("Give either names of components or --distribution, e.g. mibench plugins check my-defense.")
    if kind == "protocol":
        raise UsageError("A protocol has no contract; mibench show protocol NAME reads and checks it.")
    entries = [entry for each in kinds for entry in registry.entries(each)]
    if distribution is not None:
        found = [entry for entry in entries if entry.distribution == distribution]
        if not found:
            raise unknown("distribution of components", distribution, {entry.distribution for entry in entries})
        return found
    return [_one(registry, entries, name, kind) for name in names]


def _one(registry: Registry, entries: list[Registered], name: str, kind: str | None) -> Registered:
    if kind:
        return registry.get(kind, name)
    found = [entry for entry in entries if entry.name == name]
    if len(found) > 1:
        kinds = " and ".join(entry.kind for entry in found)
        raise UsageError(f"{name!r} is the name of a {kinds}; choose one with --kind.")
    if found:
        return found[0]
    for each in CHECKED:  # a plugin that failed to load may provide it: that says more than an unknown name
        if any(failure.kind == each and name in failure.names for failure in registry.failures):
            return registry.get(each, name)
    raise unknown("component", name, {entry.name for entry in entries})


def _settings(entries: list[Registered], given: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the settings of each component, by kind and name.

    Raises:
        UsageError: for a setting that is for none of them.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {(entry.kind, entry.name): {} for entry in entries}
    for key, value in given.items():
        taken = False
        for (kind, name), own in found.items():
            for prefix in (f"{kind}.", f"{name}."):
                if key.startswith(prefix):
                    own[key.removeprefix(prefix)] = value
                    taken = True
        if not taken:
            wanted = ", ".join(sorted({word for pair in found for word in pair}))
            raise UsageError(f"--set {key}: it is for none of the checked components; begin with one of: {wanted}.")
    return found


def _contract(registry: Registry, entry: Registered, preset: str | None, settings: Mapping[str, Any]) -> type[Contract]:
    from mibench.api import params
    from mibench.protocol.presets import Presets
    from mibench.testing.runner import contract_for

    component, owner = registry.component(entry.kind, entry.name), f"{entry.kind} {entry.name!r}"
    columns = entry.spec.columns if isinstance(entry.spec, MetricSpec) else ()
    base: Mapping[str, Any] = {}
    if preset is not None:
        presets = Presets(registry).all(entry.kind, entry.name, params.presets_of(component))
        if preset not in presets:
            raise unknown(f"preset of {owner}", preset, presets)
        base = presets[preset]
    if preset is None and not settings:
        return contract_for(entry.kind, component, columns=columns)
    names = params.names_of(component)
    wanted = {**names.flatten(base, owner), **names.flatten(settings, owner)}
    params.build(component, wanted, owner=owner)  # a wrong setting is the user's fault, not the component's
    return contract_for(entry.kind, component, wanted, columns=columns)


def _line(outcome: Outcome) -> str:
    lines = outcome.message.strip().splitlines()
    told = f": {printable(lines[-1])}" if lines else ""
    return f"  {outcome.verdict:<7} {outcome.check.replace('_', ' ')}{told}"
