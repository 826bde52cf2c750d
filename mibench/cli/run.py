"""``mibench run``: parse, plan, run, show. Everything but the result goes to stderr."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_OK, EXIT_USAGE
from mibench.cli.folder import FOLDER

if TYPE_CHECKING:
    from mibench.plan.plan import Plan
    from mibench.protocol.request import Request
    from mibench.session.run import RunResult

PUBLISH_TO = "leaderboards"


@click.command(epilog="Example: mibench run --defense atat --attack ppa --set defense.lam=0.2 --seed 0 --seed 1")
@click.option("--defense", "-d", "defenses", multiple=True, metavar="NAME[/PRESET]", help="Defense; repeatable.")
@click.option("--attack", "-a", "attacks", multiple=True, metavar="NAME[/PRESET]", help="Attack, or suite; repeatable.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only protocols on this data; repeatable.")
@click.option("--model", "models", multiple=True, metavar="NAME[/PRESET]", help="Target architecture; repeatable.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), help="Target seed; repeatable.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME[@VERSION]", help="Protocol; repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="E.g. defense.lam=0.2; repeatable.")
@click.option("--matrix", type=click.Path(path_type=Path), help="YAML file with the same keys.")
@click.option("--variant", type=click.Choice(["test", "validation"]), help="Validation is for choosing parameters.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--executor", metavar="NAME", help="How to run the stages; see `mibench list executors`.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes, for executors that have them.")
@click.option("--store", type=FOLDER, help="Folder of cached artifacts.")
@click.option("--no-shipped", "shipped", flag_value=False, default=None, help="Make shipped artifacts anew.")
@click.option("--output", type=FOLDER, help="Folder for records and the report.")
@click.option(
    "--publish",
    type=FOLDER,
    is_flag=False,
    flag_value=PUBLISH_TO,
    metavar="[FOLDER]",
    help=f"Add the records to this leaderboards folder (./{PUBLISH_TO} if none is named).",
)
@click.option("--dry-run", is_flag=True, help="Say what would run, what is reused and why; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the records (or the plan) as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No plan, no progress.")
@click.pass_context
def run(ctx: click.Context, /, matrix: Path | None, dry_run: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Run every defense against every attack, on every protocol, model and seed that is given.

    The undefended control is added by itself. What the store has is reused; the same command continues where an
    interrupted one stopped.
    """
    from mibench.cli.request import build_request, parse_settings

    options["settings"] = parse_settings(options["settings"])
    request = build_request(options, matrix=matrix)
    ctx.exit(_plan_only(request, as_json=as_json) if dry_run else _run(request, as_json=as_json, quiet=quiet))


def _plan_only(request: Request, *, as_json: bool) -> int:
    from mibench.cli.tables import plan_rows
    from mibench.cli.terminal import echo, echo_json, echo_table
    from mibench.registry.registry import load_registry
    from mibench.session.run import plan_request

    plan = plan_request(request, load_registry(), lenient=True)
    code = EXIT_USAGE if plan.missing else EXIT_OK
    if as_json:
        echo_json(_plan_document(plan))
        return code
    _header(request, plan)
    echo_table(["stage", "what", "action", "time", "key", "why"], plan_rows(plan))
    for what, words in plan.resources.items():
        echo(f"needs    {what}: {words}")
    for line in plan.missing:
        echo(f"missing  {line}")
    return code


def _run(request: Request, *, as_json: bool, quiet: bool) -> int:
    from mibench.cli.progress import ProgressDisplay
    from mibench.cli.terminal import echo_json
    from mibench.registry.registry import load_registry
    from mibench.session import run as execution

    registry = load_registry()
    plan = execution.plan_request(request, registry)
    if not quiet:
        _header(request, plan)
    display = None if quiet else ProgressDisplay()
    if display:
        registry.watch(display)
    try:
        with display or nullcontext():
            result = execution.run(request, registry, plan)
    finally:
        if display:
            registry.unwatch(display)
    if as_json:
        echo_json(_document(result))
    else:
        _show(result)
    _tell_failures(result)
    return result.exit_code


def _header(request: Request, plan: Plan) -> None:
    from mibench.cli.tables import plan_summary
    from mibench.cli.terminal import note, short_path
    from mibench.store.store import default_root

    store = short_path(request.store or default_root())
    note(f"protocol {', '.join(plan.protocol_ids)}   device {request.device}   store {store}")
    note(f"plan     {plan_summary(plan)}")
    for line in plan.unlisted_seeds:
        note(f"note     {line}")


def _show(result: RunResult) -> None:
    from mibench.cli.tables import flag_lines, result_tables
    from mibench.cli.terminal import echo, echo_grouped, short_path

    for table in result_tables(result.records):
        echo()
        echo(table.title, bold=True)
        echo_grouped(table.groups, table.titles, table.rows)
        if table.foot:
            echo(table.foot)
        for line in table.gaps:
            echo(line)
    for line in flag_lines(result.records):
        echo(f"flag     {line}")
    echo()
    if result.report:
        echo(f"report   {short_path(result.report)}")
    if result.published:
        folders = {path.parent for path in result.published}
        echo(f"published {len(result.published)} records under {short_path(Path(os.path.commonpath(folders)))}")
    elif result.record_paths:
        echo(f"records  {short_path(result.record_paths[0].parent)}{_how_to_publish(result)}")
        _tell_refusals(result)


def _how_to_publish(result: RunResult) -> str:
    """Return the command that boards accept: for all records, or for those that break no rule; empty if all do."""
    from mibench.cli.terminal import short_path

    pairs = zip(result.record_paths, result.refusals, strict=True)
    sound = [shlex.quote(short_path(path)) for path, why in pairs if not why]
    if not sound:
        return ""
    if len(sound) == len(result.record_paths):
        sound = [f"{shlex.quote(short_path(result.record_paths[0].parent))}/*.json"]
    return f"      publish with: mibench leaderboard submit {' '.join(sound)}"


def _tell_refusals(result: RunResult) -> None:
    """Say in one line why boards would refuse finished cells; failed ones are told anyway."""
    from mibench.cli.terminal import echo
    from mibench.results.display import printable

    pairs = zip(result.records, result.refusals, strict=True)
    refused = [why for record, why in pairs if why and record.status == "done"]
    if refused:
        echo(f"         no board accepts {len(refused)} of {len(result.records)} records: {printable(refused[0], 300)}")


def _tell_failures(result: RunResult) -> None:
    from mibench.cli.terminal import note

    for label, error in result.failures:
        note(f"failed   {label}: {error}")


def _document(result: RunResult) -> dict[str, Any]:
    # By way of JSON text, in which pydantic writes NaN as null; json.dumps would write what no other program reads.
    records = [json.loads(record.model_dump_json()) for record in result.records]
    return {
        "exit_code": result.exit_code,
        "plan": _plan_document(result.planned),
        "records": records,
        "record_paths": [str(path) for path in result.record_paths],
        "failures": [{"stage": label, "error": error} for label, error in result.failures],
        "report": str(result.report) if result.report else None,
        "published": [str(path) for path in result.published],
    }


def _plan_document(plan: Plan) -> dict[str, Any]:
    names = ("id", "stage", "label", "key", "reused", "reason", "estimate_s")
    return {
        "protocols": list(plan.protocol_ids),
        "cells": len(plan.cells),
        "nodes": [{name: getattr(node, name) for name in names} for node in plan.nodes],
        **({"needs": plan.resources} if plan.resources else {}),
        **({"missing": list(plan.missing)} if plan.missing else {}),
    }
