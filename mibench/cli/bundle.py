"""``mibench leaderboard bundle``: pack the evidence of records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mibench.cli.folder import BOARDS, FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mibench.protocol.load import LoadedProtocol
    from mibench.registry.registry import Registry
    from mibench.results.record import Record

WORDS = {"target": "targets", "reconstruct": "sets of reconstructions", "evaluator": "judges"}


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle: NAME.zip, or a new folder.")
@click.option("--store", type=FOLDER, help="Where the evidence is [default: the user's store].")
@click.option("--private", is_flag=True, help="Pack what must not be published, for those who may see the data.")
@click.option("--judges/--no-judges", default=True, help="Pack the weights of judges too [default: yes].")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
def bundle(records: Sequence[Path], out: Path, store: Path | None, private: bool, judges: bool, folder: Path) -> None:
    """Pack what RECORDS were measured from, so that anybody can measure again without attacking and without a GPU.

    A bundle holds reconstructions, target weights, judges and a manifest with the digest of every file; photographs
    never. The terms of the data decide whether reconstructions may be published at all: `mibench show dataset NAME`.
    `--from` is only looked at for a protocol that is not installed.
    """
    from mibench.bundles.pack import pack, read_records
    from mibench.cli.terminal import echo, short_path
    from mibench.plan.facts import Facts
    from mibench.registry.registry import load_registry
    from mibench.store.store import Store, default_root

    registry = load_registry()
    found = read_records(records)
    place = Store(store or default_root(), registry.artifact_folders())
    facts = Facts.beside(registry, place.root)
    loaded = _protocol(found[0], registry, folder)
    manifest = pack(found, loaded, place, registry, facts.memo, out, private=private, judges=judges)
    facts.memo.save()
    kinds = [entry.stage for entry in manifest.artifacts]
    counted = ", ".join(f"{kinds.count(kind)} {word}" for kind, word in WORDS.items() if kind in kinds)
    size = f"{manifest.size / 1e6:.1f} MB"
    if out.is_file():
        size = f"{out.stat().st_size / 1e6:.1f} MB ({manifest.size / 1e6:.1f} unpacked)"
    echo(f"bundle   {short_path(out)}: {len(found)} records, {counted}, {size}{', PRIVATE' if private else ''}")
    echo(f"digest   {manifest.digest}")


def _protocol(record: Record, registry: Registry, folder: Path) -> LoadedProtocol:
    """Return the protocol of a record as it was frozen: the installed one, or that of its board."""
    from mibench.api.errors import MibenchError, UsageError
    from mibench.leaderboard.layout import BoardFolder
    from mibench.protocol.load import load_protocol

    name = f"{record.protocol.name}@{record.protocol.version}"
    try:
        found: LoadedProtocol | None = load_protocol(registry, name)
    except MibenchError:
        found = None
    if found is None or found.digest != record.protocol.digest:
        found = BoardFolder(folder, record.protocol.name, record.protocol.version).protocol()
    if found is None or found.digest != record.protocol.digest:
        raise UsageError(
            f"{name} with the digest {record.protocol.digest[:12]} is neither installed nor in {folder}; install the"
            " plugin that brings it, or name its leaderboards folder with --from"
        )
    return found
