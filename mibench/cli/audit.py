"""``mibench audit``: what a trained classifier gives away. Everything but the result goes to stderr."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_OK
from mibench.cli.folder import FOLDER

if TYPE_CHECKING:
    from mibench.audit.prepare import Prepared
    from mibench.audit.run import AuditResult

FILE = click.Path(path_type=Path)
SAME = "same"


def numbers(text: str) -> tuple[float, ...]:
    """Return numbers that stand with commas between.

    Raises:
        click.BadParameter: if one is none.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        told = f"{text!r}: expected numbers with commas between, such as 0.485,0.456,0.406"
        raise click.BadParameter(told) from None


@click.command()
@click.option(
    "--model", required=True, metavar="SOURCE", help="MODULE:FUNCTION, FILE.py:FUNCTION, timm:NAME, a file ..."
)
@click.option("--weights", type=FILE, help="Trained weights: .safetensors, or a state_dict.")
@click.option("--private", required=True, type=FOLDER, help="Photographs of the people that the network knows.")
@click.option("--heldout", type=FOLDER, help="Others of them, on which it was not trained.")
@click.option("--public", required=True, type=FOLDER, help="Photographs of other people, which the attacker has.")
@click.option("--classes", type=FILE, help="Names of the outputs, one a line; else the folders' order.")
@click.option("--size", type=click.IntRange(min=8), help="Side of the images in pixels, as in training.")
@click.option("--mean", type=numbers, metavar="A,B,C", help="Subtracted, in [0, 1] units.")
@click.option("--std", type=numbers, metavar="A,B,C", help="Divided by, in [0, 1] units.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="1 for a network of grey images.")
@click.option("--channel-order", type=click.Choice(["rgb", "bgr"]), help="bgr as OpenCV reads.")
@click.option("--outputs", type=click.Choice(["logits", "probabilities"]), help="What the network answers with.")
@click.option("--access", type=click.Choice(["white-box", "scores", "labels"]), help="What the attacker sees of it.")
@click.option("-a", "--attack", "attacks", multiple=True, metavar="NAME[/PRESET]", help="Attack; repeatable.")
@click.option("--prior", metavar="NAME[/PRESET]", help="The attacker's generator.")
@click.option("--twin", is_flag=False, flag_value=SAME, metavar="[MODEL]", help="Train an undefended twin beside it.")
@click.option("--any-accuracy", is_flag=True, help="Go on whatever the check of its accuracy finds.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the attacks.")
@click.option("--template", metavar="NAME|FILE.yaml", help="Settings to begin with.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--executor", metavar="NAME", help="How to run the stages.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes, for executors that have them.")
@click.option("--store", type=FOLDER, help="Folder of cached artifacts.")
@click.option("--output", type=FOLDER, help="Folder for protocol, records and reports (mibench-audit).")
@click.option("--dry-run", is_flag=True, help="Look at folders and network, and say what would run.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No plan, no progress.")
@click.pass_context
def audit(ctx: click.Context, /, *, dry_run: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Attack a classifier that you have trained, and report what it gives away of the people in its photographs.

    Its accuracy on held-out photographs is checked first. The same command continues where an interrupted one stopped.
    """
    from mibench.audit.prepare import prepare
    from mibench.audit.request import AuditRequest
    from mibench.registry.registry import load_registry

    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    if "channels" in given:
        given["channels"] = int(given["channels"])
    request, registry = AuditRequest.model_validate(given), load_registry()
    prepared = prepare(request, registry)
    if not quiet:
        _header(prepared)
    if dry_run:
        _show_plan(prepared)
        ctx.exit(EXIT_OK)
    ctx.exit(_run(prepared, registry, as_json=as_json, quiet=quiet))


def _run(prepared: Prepared, registry: Any, *, as_json: bool, quiet: bool) -> int:
    from mibench.audit.run import audit as perform
    from mibench.cli.progress import ProgressDisplay
    from mibench.cli.terminal import echo_json, note

    display = None if quiet else ProgressDisplay()
    if display:
        registry.watch(display)
    try:
        with display or nullcontext():
            result = perform(prepared, registry)
    finally:
        if display:
            registry.unwatch(display)
    if as_json:
        echo_json(result.document)
    else:
        _show(result)
    for name, error in result.findings.failed:
        note(f"failed   {name}: {error}")
    return result.exit_code


def _header(prepared: Prepared) -> None:
    from mibench.cli.tables import plan_summary
    from mibench.cli.terminal import note, short_path

    sanity, people = prepared.sanity, prepared.people
    note(f"network  {prepared.request.model}   knows {sanity.accuracy:.0%} of {sanity.images} held-out photographs")
    note(f"people   {len(people.names)} private, {people.public} public   protocol {short_path(prepared.protocol)}")
    note(f"plan     {plan_summary(prepared.plan)}")


def _show_plan(prepared: Prepared) -> None:
    from mibench.cli.tables import plan_rows
    from mibench.cli.terminal import echo_table

    echo_table(["stage", "what", "action", "time", "key", "why"], plan_rows(prepared.plan))


def _show(result: AuditResult) -> None:
    from mibench.audit.findings import verdict
    from mibench.audit.page import counts
    from mibench.cli.terminal import echo, echo_table, short_path

    echo(verdict(result.findings), bold=True)
    echo()
    echo_table(["", "recognised", ""], [(name, *cells) for name, cells in counts(result.findings)])
    echo()
    echo(f"report   {short_path(result.page)}")
    echo(f"numbers  {short_path(result.run.report)}" if result.run.report else "")
