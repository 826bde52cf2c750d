"""The type of options that name a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mibench.api.folders import named_folder


class FolderType(click.Path):
    """A folder that may not exist yet; ``~`` is expanded, also where no shell does it, and no empty name is taken."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder as a path. Raises ``UsageError`` for an empty name or an unknown home."""
        what = param.opts[0] if param and param.opts else "folder"
        return super().convert(named_folder(value, what), param, ctx)


FOLDER = FolderType()
BOARDS = Path("leaderboards")
"""Where boards lie, if nobody says otherwise."""
