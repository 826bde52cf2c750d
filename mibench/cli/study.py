"""``mibench study``: list, show, run and report studies. Everything but the answer goes to stderr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_OK
from mibench.cli.folder import FOLDER

if TYPE_CHECKING:
    from mibench.study.design import Written
    from mibench.study.request import StudyRequest


@click.group()
def study() -> None:
    """Put a claim to the test: run arms under a protocol, analyse their records, write a page with a verdict."""


@study.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_studies(as_json: bool) -> None:
    """List the installed studies."""
    from mibench.cli.list import describe
    from mibench.cli.terminal import echo_json, echo_table
    from mibench.registry.registry import load_registry

    entries = load_registry().entries("study")
    if as_json:
        echo_json([describe(entry) for entry in entries])
        return
    echo_table(["name", "distribution", "what it decides"], [(e.name, e.distribution, e.spec.summary) for e in entries])


@study.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the study NAME: claim, rule of the verdict, what it measures, and its parameters."""
    from mibench.api import params
    from mibench.cli.terminal import echo, echo_json, echo_table
    from mibench.registry.registry import load_registry
    from mibench.study.request import StudyRequest, build_study

    registry = load_registry()
    made, entry = build_study(StudyRequest(name=name), registry), registry.get("study", name)
    rows = params.describe(type(made))
    metrics = [metric.name for metric in made.metrics()]
    if as_json:
        fields = [{"name": row.name, "default": row.default, "doc": row.doc} for row in rows]
        told = {"name": name, "summary": entry.spec.summary, "claim": made.claim, "rule": made.rule}
        echo_json({**told, "metrics": metrics, "variant": made.variant, "params": fields})
        return
    echo(f"study {name} ({entry.distribution} {entry.distribution_version})", bold=True)
    echo(entry.spec.summary)
    echo(f"claim    {made.claim}")
    echo(f"rule     {made.rule}")
    echo(f"measures {', '.join(metrics) or 'what the protocol measures'}")
    echo(f"variant  {made.variant}")
    echo()
    echo_table(["parameter", "default", "meaning"], [(row.name, row.default, row.doc) for row in rows])


@study.command(epilog="Example: mibench study run randomised-trial --set targets=20 --seed 0")
@click.argument("name")
@click.option("--protocol", metavar="NAME[@VERSION]", help="Protocol or YAML file; faces64 if none is named.")
@click.option("--model", metavar="NAME[/PRESET]", help="Target architecture.")
@click.option("--attack", "-a", "attacks", multiple=True, metavar="NAME[/PRESET]", help="Attack; repeatable.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), help="Target seed; repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of the study; repeatable.")
@click.option("--variant", type=click.Choice(["test", "validation"]), help="Of the protocol; the study's own if none.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--executor", metavar="NAME", help="How to run the stages; see `mibench list executors`.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes, for executors that have them.")
@click.option("--store", type=FOLDER, help="Folder of cached artifacts.")
@click.option("--no-shipped", "shipped", flag_value=False, default=None, help="Make shipped artifacts anew.")
@click.option("--output", type=FOLDER, help="Folder of design, records and page; the same folder continues a study.")
@click.option(
    "--records", multiple=True, type=FOLDER, help="Analyse the records in this folder and run nothing; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Say which arms would run, and what; run and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict (or the design and plan) as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No plan, no progress.")
def run(name: str, dry_run: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Run the study NAME, or what is left of it, and write its page.

    Its design, with whatever is drawn, is written before the first training starts; the same command continues where
    an interrupted one stopped, with the same design.
    """
    from mibench.cli.request import parse_settings
    from mibench.study.request import StudyRequest

    options["settings"] = parse_settings(options["settings"])
    given = {key: value for key, value in options.items() if value is not None}
    request = StudyRequest(name=name, **given)
    if dry_run:
        _plan_only(request, as_json=as_json)
    else:
        _run(request, as_json=as_json, quiet=quiet)


@study.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=FOLDER, default=Path("mibench-studies/report"), show_default=True, help="Where to.")
def report(folders: Sequence[Path], output: Path) -> None:
    """Collect the pages of finished studies in FOLDERS (mibench-studies if none is named) into one, with an index."""
    from mibench.cli.terminal import echo, short_path
    from mibench.study.page import write_index
    from mibench.study.request import FOLDER as STUDIES

    echo(f"index    {short_path(write_index(list(folders) or [STUDIES], output))}")


def _plan_only(request: StudyRequest, *, as_json: bool) -> None:
    from mibench.cli.tables import plan_rows, plan_summary
    from mibench.cli.terminal import echo, echo_json, echo_table
    from mibench.study.run import plan_only

    written, plan = plan_only(request)
    if as_json:
        nodes = [{"id": node.id, "label": node.label, "reused": node.reused} for node in plan.plan.nodes]
        echo_json({**_design(written), "cells": len(plan.plan.cells), "nodes": nodes, "left_out": plan.left_out})
        return
    echo(f"claim    {written.asked['claim']}")
    echo(f"rule     {written.asked['rule']}")
    echo_table(["arm", "defense", "parameters", "seeds"], _arms(written))
    for arm, reason in plan.left_out:
        echo(f"left out {arm}: {reason}")
    echo(f"plan     {plan_summary(plan.plan)}")
    echo_table(["stage", "what", "action", "time", "key", "why"], plan_rows(plan.plan))


def _arms(written: Written) -> list[tuple[str, str, str, str]]:
    return [
        (
            arm.name,
            arm.defense or "undefended",
            ", ".join(f"{key}={value}" for key, value in arm.params.items()) or "as the protocol has them",
            " ".join(map(str, arm.seeds or written.asked["seeds"])),
        )
        for arm in written.design.arms
    ]


def _design(written: Written) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written.text())
    return found


def _run(request: StudyRequest, *, as_json: bool, quiet: bool) -> int:
    from mibench.cli.progress import ProgressDisplay
    from mibench.cli.tables import plan_summary
    from mibench.cli.terminal import echo, echo_json, note, short_path
    from mibench.registry.registry import load_registry
    from mibench.study.run import prepare, run_study

    registry = load_registry()
    prepared = None if request.records else prepare(request, registry)
    if prepared and not quiet:
        note(f"design   {short_path(prepared.folder / 'design.json')}")
        note(f"plan     {plan_summary(prepared.plan.plan)}")
    display = None if quiet or request.records else ProgressDisplay()
    if display:
        registry.watch(display)
    try:
        with display or nullcontext():
            result = run_study(request, registry=registry, prepared=prepared)
    finally:
        if display:
            registry.unwatch(display)
    findings = result.findings
    if as_json:
        told = {"study": request.name, "answer": findings.answer, "verdict": findings.verdict}
        tables = {name: {"columns": t.columns, "rows": t.rows} for name, t in findings.tables.items()}
        echo_json({**told, "notes": findings.notes, "tables": tables, "absent": result.evidence.absent})
    else:
        echo(f"The claim {findings.answer}.", bold=True)
        echo(findings.verdict)
        for text in findings.notes:
            echo(f"note     {text}")
    for name, reason in result.evidence.absent:
        note(f"missing  {name}: {reason}")
    if result.page and not as_json:
        echo(f"page     {short_path(result.page)}")
    return EXIT_OK
