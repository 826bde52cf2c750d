"""``mibench leaderboard export``: boards in the formats of others."""

from __future__ import annotations

from pathlib import Path

import click

from mibench.api.errors import UsageError
from mibench.cli.folder import BOARDS, FOLDER
from mibench.cli.site import address_of, date_of
from mibench.cli.terminal import echo, short_path

NAMES = ("cells", "bibtex", "every-eval-ever", "huggingface", "croissant")
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


@click.command()
@click.argument("protocol", required=False)
@click.option("--to", "form", type=click.Choice(NAMES), required=True, help="Format.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the files; each board has one of its own in it.")
@click.option("--from", "folder", type=FOLDER, default=BOARDS, show_default=True, help="Leaderboards folder.")
@click.option("--url", default="", help="Address of the site, for citations and sources.")
@click.option("--dataset", default="", help="Hugging Face: organization/name of the benchmark's data set repository.")
@click.option("--organization", default="mibench", show_default=True, help="Every Eval Ever: who hands it over.")
@click.option("--relationship", type=click.Choice(RELATIONSHIPS), default="other", show_default=True,
              help="Every Eval Ever: of those who measured to those who made the defense.")  # fmt: skip
@click.option("--date", default=None, help="YYYY-MM-DD [default: SOURCE_DATE_EPOCH, or today].")
def export(
    protocol: str | None,
    form: str,
    out: Path,
    folder: Path,
    url: str,
    dataset: str,
    organization: str,
    relationship: str,
    date: str | None,
) -> None:
    """Write the board of PROTOCOL, or all boards, in another format.

    `cells` is one CSV with the values of every person. Hugging Face's format has one number for each row, without
    interval; it takes ranked rows only.
    """
    from mibench.base.files import write_atomic
    from mibench.exchange.every_eval import Source
    from mibench.exchange.export import FORMATS, Target
    from mibench.leaderboard import load_board

    if form == "huggingface" and not (dataset.count("/") == 1 and url):
        raise UsageError("--to huggingface needs --dataset organization/name and --url, which every result states")
    source = Source(organization, relationship, "", date_of(date))  # type: ignore[arg-type]
    target = Target(source, address_of(url, "--url"), dataset)
    for section in load_board(folder, protocol).sections:
        made = list(FORMATS[form](section, target))
        home = out / section.protocol.replace("@", "/")
        for name, text in made:
            write_atomic(home / name, text)
        echo(f"written  {short_path(home)}: {len(made)} files")
