"""``mibench data``: which datasets are ready, what others need, whether they read as they should; and file imports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK, MibenchError
from mibench.cli.folder import FOLDER
from mibench.cli.imports import ImportGroup
from mibench.cli.terminal import echo, echo_json, echo_table
from mibench.execute.streams import aside
from mibench.registry.registry import Registry, load_registry

if TYPE_CHECKING:
    from mibench.api.data import Dataset

VERIFY_SIZE = 64


@click.group(cls=ImportGroup)
def data() -> None:
    """See which datasets are ready, check them, and import files that others published."""


@data.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_datasets(as_json: bool) -> None:
    """List datasets and what each one still needs."""
    registry = load_registry()
    rows = [_state(registry, entry.name) for entry in registry.entries("dataset")]
    if as_json:
        echo_json({"datasets": rows})
        return
    cells = [(row["name"], row["state"], row["distribution"], row["summary"]) for row in rows]
    echo_table(["name", "state", "distribution", "summary"], cells, title=f"datasets ({len(rows)})")
    for row in rows:
        for line in row["missing"]:
            echo(f"{row['name']}: {line}")


@data.command()
@click.argument("name")
@click.option("--from", "source", type=FOLDER, metavar="FOLDER", help="Your copy of it, unpacked; it is not changed.")
@click.option("--split", type=click.Path(path_type=Path), help="List of what each image is for, by SHA-256.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of the dataset; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Show every note, not the first of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def prepare(
    ctx: click.Context,
    name: str,
    source: Path | None,
    split: Path | None,
    settings: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Look through your copy of dataset NAME, and describe it for runs; without --from, say what NAME still needs.

    Every file is read and decoded. What cannot be used is named. The same command continues where an interrupted one
    stopped.
    """
    registry = load_registry()
    if source is None:
        row = _state(registry, name)
        for line in row["missing"]:
            echo(f"{name}: {line}")
        if not row["missing"]:
            echo(f"{name}: ready, nothing is missing")
        ctx.exit(EXIT_FAILED_CELLS if row["missing"] else EXIT_OK)
    from mibench.cli import copies

    with aside():
        dataset = _dataset(registry, name, settings)
        copy = copies.prepare_copy(name, dataset, copies.require_folder(source), split)
    missing = _dataset(registry, name, settings, copied=True).missing()
    if as_json:
        echo_json({**copies.copy_document(copy), "missing": missing})
    else:
        copies.show(copies.describe(copy, everything=everything))
        copies.show([f"{name}: {line}" for line in missing] or [f"{name}: ready"])
    ctx.exit(EXIT_FAILED_CELLS if missing else EXIT_OK)


@data.command()
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of the dataset; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Show every note, not the first of each kind.")
@click.pass_context
def check(ctx: click.Context, name: str, settings: tuple[str, ...], everything: bool) -> None:
    """Read every file of dataset NAME again: of a prepared copy, or of a folder (--set root=FOLDER)."""
    from mibench.cli import copies

    registry = load_registry()
    dataset = _dataset(registry, name, settings, copied=True)
    if not settings and copies.has_copy(name):
        lines, code = copies.check_copy(name, everything=everything)
        copies.show(lines)
        ctx.exit(code)
    missing = dataset.missing()
    copies.show([f"{name}: {line}" for line in missing])
    if not missing or dataset.num_identities():
        people = range(dataset.num_identities())
        counts = [count for identity in people if (count := dataset.num_images(identity)) is not None]
        copies.show([f"found    {sum(counts)} images of {len(people)} classes"])
        copies.show(copies.note_lines(dataset.notes(), everything=everything))
    ctx.exit(EXIT_FAILED_CELLS if missing else EXIT_OK)


@data.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Read the first identity of the datasets NAMES (of all that are installed, if none is named)."""
    registry = load_registry()
    wanted = names or tuple(entry.name for entry in registry.entries("dataset"))
    rows = [_verify(registry, name) for name in wanted]
    if as_json:
        echo_json({"datasets": rows})
    else:
        echo_table(["name", "result", "detail"], [(row["name"], row["result"], row["detail"]) for row in rows])
    # Data that was not named and is not here is no fault.
    bad = [row for row in rows if row["result"] == "failed" or (names and row["result"] == "missing")]
    ctx.exit(EXIT_FAILED_CELLS if bad else EXIT_OK)


@data.command()
@click.argument("name")
@click.option("--out", type=FOLDER, required=True, help="Folder for croissant.json and the tables that it describes.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of the dataset; repeatable.")
@click.option("--url", default="", help="Address that the folder will have.")
@click.option("--date", default=None, help="YYYY-MM-DD [default: SOURCE_DATE_EPOCH, or today].")
def croissant(name: str, out: Path, settings: tuple[str, ...], url: str, date: str | None) -> None:
    """Describe dataset NAME for others, as Croissant 1.0: terms, paper, classes, SHA-256 of files where they are known.

    No photograph is written, no path of this machine, and of a prepared copy no names of files.
    """
    from mibench.base.files import write_atomic
    from mibench.cli.croissant import described
    from mibench.cli.site import address_of, date_of
    from mibench.cli.terminal import note, short_path
    from mibench.exchange.dataset_croissant import dataset_croissant

    registry = load_registry()
    with aside():
        made, missing = described(registry.get("dataset", name), _dataset(registry, name, settings, copied=True))
    for line in missing:
        note(f"described without what is not here: {line}")
    files = list(dataset_croissant(made, url=address_of(url, "--url"), date=date_of(date)))
    for file, text in files:
        write_atomic(out / file, text)
    echo(f"written  {short_path(out)}: {', '.join(file for file, _ in files)}")


def _dataset(registry: Registry, name: str, settings: Sequence[str] = (), *, copied: bool = False) -> Dataset:
    """Build a dataset; one with copies reads the prepared one, if that is wanted and there is one."""
    from mibench.api import params
    from mibench.api.copies import copy_file
    from mibench.cli.request import parse_settings

    component = registry.component("dataset", name)
    values = dict(parse_settings(settings))
    for parameter, of in params.copy_parameters(component).items() if copied else ():
        if copy_file(of).is_file():
            values.setdefault(parameter, str(copy_file(of)))
    made: Dataset = params.build(component, values, owner=f"dataset {name!r}")
    return made


def _state(registry: Registry, name: str) -> dict[str, Any]:
    entry = registry.get("dataset", name)
    missing = _dataset(registry, name, copied=True).missing()
    return {
        "name": name,
        "state": "missing" if missing else "ready",
        "missing": missing,
        "distribution": entry.distribution,
        "licence": entry.spec.licence,
        "summary": entry.spec.summary,
    }


def _verify(registry: Registry, name: str) -> dict[str, str]:
    from mibench.api import check_images

    dataset = _dataset(registry, name, copied=True)
    missing = dataset.missing()
    if missing:
        return {"name": name, "result": "missing", "detail": "; ".join(missing)}
    try:
        images = dataset.load([0], size=VERIFY_SIZE, channels=3)
        shape = tuple(check_images(images.all_images(), where=name).shape)
    except (MibenchError, OSError, ValueError) as error:
        return {"name": name, "result": "failed", "detail": str(error)}
    if not shape[0] or shape[1:] != (3, VERIFY_SIZE, VERIFY_SIZE):
        return {"name": name, "result": "failed", "detail": f"asked for 3 x {VERIFY_SIZE} x {VERIFY_SIZE}, got {shape}"}
    detail = f"{dataset.num_identities()} identities; the first has {shape[0]} images"
    return {"name": name, "result": "ok", "detail": detail}
