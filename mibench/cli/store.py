"""``mibench store``: the folder of cached artifacts."""

from __future__ import annotations

from pathlib import Path

import click

from mibench.cli.folder import FOLDER
from mibench.cli.terminal import echo, note, short_path


@click.group()
def store() -> None:
    """Look after the store, the folder of cached artifacts."""


@store.command()
@click.option(
    "--store", "root", type=FOLDER, help="Folder of cached artifacts [default: MIBENCH_STORE, or the user's]."
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
def migrate(root: Path | None, dry_run: bool) -> None:
    """Take a store to the layout that this mibench uses, in place; nothing is computed again.

    It is refused while another process uses the store. The same command continues where an interrupted one stopped.
    """
    from mibench.store.migrate import migrate_store
    from mibench.store.store import default_root

    place = root or default_root()
    done = migrate_store(place.resolve(), dry_run=dry_run)
    where = short_path(place)
    if done.before == done.after:
        echo(f"store    {where} has layout {done.after}, the newest: nothing to do")
        return
    verb = "would be taken" if dry_run else "taken"
    echo(f"store    {where}: {done.artifacts} artifacts {verb} from layout {done.before} to {done.after}")
    if done.aside:
        echo(f"damaged  {done.aside} could not be read, and lie in {short_path(place / 'damaged')}")
    if dry_run:
        note("nothing was written (--dry-run)")
