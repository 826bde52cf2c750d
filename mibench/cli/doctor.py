"""``mibench doctor``: say what works on this machine, and how to fix the rest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK
from mibench.cli.folder import FOLDER


@click.command()
@click.option("--store", type=FOLDER, help="Folder of cached artifacts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, store: Path | None, as_json: bool) -> None:
    """Say what works on this machine, and how to fix the rest.

    Exit code 0 if the default protocol can run, 1 if something is broken. What only other protocols need is `todo`.
    """
    from mibench.cli.checkup import checkup
    from mibench.cli.terminal import echo, echo_json, echo_table
    from mibench.registry.registry import load_registry
    from mibench.registry.verdicts import forget_refusals

    forget_refusals()
    checks = list(checkup(load_registry(), store))
    healthy = all(check.status != "broken" for check in checks)
    if as_json:
        echo_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        echo_table(["", "", ""], [(check.status, check.name, check.detail) for check in checks])
        for check in checks:
            for line in check.fix.splitlines():
                echo(f"fix {check.name}: {line}")
    ctx.exit(EXIT_OK if healthy else EXIT_FAILED_CELLS)
