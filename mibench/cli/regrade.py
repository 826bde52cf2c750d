"""``mibench leaderboard regrade``: measure the evidence of bundles again, and say what moved."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_OK
from mibench.cli.attest import PARTIES, PARTY_HELP, tell, witness
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.terminal import echo, echo_json, echo_table, short_path
from mibench.results.display import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mibench.bundles.regrade import Means, Regraded
    from mibench.leaderboard.attest import Witness
    from mibench.leaderboard.attestation import Party
    from mibench.protocol.load import LoadedProtocol
    from mibench.registry.registry import Registry
    from mibench.results.repeated import Change

WORDS = {"equal": "equal", "within": "within rounding", "moved": "moved", "new": "new", "gone": "gone"}
"""Verdicts on columns, for people."""


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=FOLDER, help="Folder for the regraded records.")
@click.option("--protocol", metavar="NAME@VERSION", help="Measure under another version of the protocol.")
@click.option("--own-judges", is_flag=True, help="Train judges here, even if the bundle holds theirs.")
@click.option("--device", metavar="NAME", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--executor", metavar="NAME", default="inline", show_default=True, help="How to run the measurements.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes, if any.")
@click.option("--store", type=FOLDER, help="Store for data, and for judges that no bundle holds.")
@click.option("--attest", "attesting", is_flag=True, help="Write down what came out, beside the published entries.")
@click.option("--by", help="Who you are, for --attest: a name, and where to find you.")
@click.option("--as", "party", type=click.Choice(PARTIES), default="third-party", show_default=True, help=PARTY_HELP)
@click.option("--board", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--all", "everything", is_flag=True, help="List all columns, and not only those that moved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every column of every record.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.pass_context
def regrade(
    ctx: click.Context,
    /,
    bundles: Sequence[Path],
    out: Path | None,
    protocol: str | None,
    own_judges: bool,
    attesting: bool,
    by: str | None,
    party: Party,
    folder: Path,
    everything: bool,
    as_json: bool,
    quiet: bool,
    **resources: Any,
) -> None:
    """Measure the evidence of BUNDLES again with the installed metrics, without attacking, and print what moved.

    Published records stay as they are. `--out` writes the new ones; where a metric was corrected, they belong on the
    board of a new version of the protocol (`--protocol`). `--attest` states on the board what came out. Exit code 1 if
    a column moved or a record could not be measured.
    """
    from mibench.bundles.regrade import regrade as measure
    from mibench.results.io import save_record

    found: list[Regraded] = []
    who = witness(by, party, None) if attesting else None
    means = _means(**resources)
    loaded = _loaded(protocol, means)
    with _watching(means.registry, quiet=quiet):
        for path in bundles:
            found += measure(path, means, protocol=loaded, own_judges=own_judges)
    written = [save_record(one.record, out) for one in found if one.record] if out else []
    if as_json:
        echo_json({"records": [_document(one) for one in found], "written": [str(path) for path in written]})
    else:
        for one in found:
            _show(one, everything=everything)
        _sum_up(found, out)
    if who:
        _attest(found, folder, who, "own" if own_judges else "bundle")
    ctx.exit(EXIT_OK if all(one.held for one in found) else EXIT_FAILED_CELLS)


def _attest(found: Sequence[Regraded], folder: Path, who: Witness, judges: Literal["own", "bundle"]) -> None:
    from mibench.bundles.regrade import comparable
    from mibench.leaderboard.attest import attest

    tell(attest("regraded", comparable(found), folder, who, judges=judges))


def _means(*, store: Path | None, **resources: Any) -> Means:
    from mibench.bundles.regrade import Means
    from mibench.execute.before_torch import prepare_torch
    from mibench.registry.registry import load_registry
    from mibench.store.store import Store, default_root

    prepare_torch()
    registry = load_registry()
    return Means(Store(store or default_root(), registry.artifact_folders()), registry, **resources)


def _loaded(protocol: str | None, means: Means) -> LoadedProtocol | None:
    from mibench.protocol.load import load_protocol

    return load_protocol(means.registry, protocol) if protocol else None


@contextmanager
def _watching(registry: Registry, *, quiet: bool) -> Iterator[None]:
    """Draw the progress of what is measured meanwhile."""
    from mibench.cli.progress import ProgressDisplay

    if quiet:
        yield
        return
    display = ProgressDisplay()
    registry.watch(display)
    try:
        with display:
            yield
    finally:
        registry.unwatch(display)


def _show(one: Regraded, *, everything: bool) -> None:
    from mibench.results.io import label

    echo(printable(label(one.published), 300), bold=True)
    if one.record is None:
        echo(f"failed   {printable(one.error, 1000)}")
        return
    counts = Counter[str](change.verdict for change in one.changes)
    told = ", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items() if counts[verdict])
    same = "; the record is the same to the last digit" if one.record.digest == one.published.digest else ""
    echo(f"columns  {len(one.changes)}: {told}{same}")
    rows = [_row(change) for change in one.changes if everything or not change.held]
    if rows:
        echo_table(["column", "published", "found", "difference", ""], rows)
    for line in one.notes:
        echo(f"note     {printable(line, 500)}")


def _row(change: Change) -> tuple[str, str, str, str, str]:
    before, after = change.published, change.found
    gap = f"{after - before:+.6g}" if before is not None and after is not None else ""
    values = tuple("" if value is None else f"{value:.6g}" for value in (before, after))
    return change.column, values[0], values[1], gap, WORDS[change.verdict]


def _sum_up(found: Sequence[Regraded], out: Path | None) -> None:
    held = sum(one.held for one in found)
    echo(f"regraded {len(found)} records: {held} hold, {len(found) - held} do not")
    if out:
        echo(f"records  {short_path(out)}")


def _document(one: Regraded) -> dict[str, Any]:
    return {
        "cell": one.published.cell.model_dump(),
        "protocol": one.published.protocol.model_dump(),
        "digest": one.published.digest,
        "regraded_digest": one.record.digest if one.record else None,
        "held": one.held,
        "error": one.error,
        "notes": list(one.notes),
        "columns": [change._asdict() for change in one.changes],
    }
