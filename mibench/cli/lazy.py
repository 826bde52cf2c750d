"""A command group that imports a command only when it is used."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from mibench.api.errors import suggestion
from mibench.execute.streams import aside


class LazyCommand(NamedTuple):
    """Where a command lives, and its line in the help.

    Attributes:
        place: ``"module:object"``.
        summary: one line.
    """

    place: str
    summary: str


class LazyGroup(click.Group):
    """A group of commands given by import strings, so that ``--help`` imports none of them.

    Args:
        lazy: name to command.
    """

    def __init__(self, *args: Any, lazy: dict[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order in which they were given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; ``None`` if there is none of that name."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _keep_stdout_clean(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line, or suggest one."""
        name = args[0]
        if not name.startswith("-") and name not in self._lazy and not ctx.resilient_parsing:
            listed = ", ".join(self._lazy)
            raise click.UsageError(f"Unknown command {name!r}.{suggestion(name, self._lazy)} Available: {listed}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in self._lazy.items()])


def _keep_stdout_clean(command: click.Command) -> None:
    """Let a command, and those inside it, send to stderr what is printed while they work; only ``echo`` answers."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _keep_stdout_clean(inner)
    elif command.callback and not hasattr(command.callback, "__wrapped_aside__"):
        command.callback = _working(command.callback)


def _working(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def work(*args: Any, **kwargs: Any) -> Any:
        with aside():
            return callback(*args, **kwargs)

    work.__wrapped_aside__ = True  # type: ignore[attr-defined]
    return work
