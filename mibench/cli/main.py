"""The entry point: global options, lazy commands, and one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from mibench.api.errors import EXIT_FAILED_CELLS, EXIT_INTERRUPTED, EXIT_OK, EXIT_PLUGIN, MibenchError
from mibench.base.version import __version__
from mibench.cli.lazy import LazyCommand, LazyGroup
from mibench.execute.signals import Stopped, stoppable
from mibench.execute.streams import divided
from mibench.store.trouble import disk_trouble

COMMANDS = {
    "run": LazyCommand("mibench.cli.run:run", "Run defenses against attacks under a frozen protocol."),
    "audit": LazyCommand("mibench.cli.audit:audit", "Attack a classifier that you have trained, and report."),
    "list": LazyCommand("mibench.cli.list:list_components", "List what is installed, broken plugins included."),
    "show": LazyCommand("mibench.cli.show:show", "Show one component: parameters, presets, paper, licence."),
    "study": LazyCommand("mibench.cli.study:study", "Put a claim to the test: arms, records, a page with a verdict."),
    "leaderboard": LazyCommand("mibench.cli.leaderboard:leaderboard", "Add records to a leaderboard, or print one."),
    "data": LazyCommand("mibench.cli.data:data", "See which datasets are ready, check them, import files."),
    "plugins": LazyCommand("mibench.cli.plugins:plugins", "Put components of plugins to the contract of their kind."),
    "store": LazyCommand("mibench.cli.store:store", "Take the store of cached artifacts to a new layout."),
    "doctor": LazyCommand("mibench.cli.doctor:doctor", "Say what works on this machine and how to fix the rest."),
}
DEBUG_VARIABLE = "MIBENCH_DEBUG"
COMPLETION_VARIABLE = "_MIBENCH_COMPLETE"


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: mibench run --defense atat --attack ppa",
)
@click.version_option(__version__, prog_name="mibench")
@click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR=1, or output that is not a terminal).")
@click.pass_context
def cli(ctx: click.Context, no_color: bool) -> None:
    """The referee of model inversion.

    One command runs a defense against attacks under a frozen protocol and reports leakage, accuracy and robust
    accuracy together.
    """
    ctx.obj = {**(ctx.obj or {}), "no_color": no_color}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what follows ``mibench``; ``sys.argv[1:]`` by default.

    Returns:
        0 if all is done, 1 if something failed, 2 for a wrong request, 3 for a broken plugin, 130 if interrupted,
        129 or 143 if ended by SIGHUP or SIGTERM.
    """
    with divided(for_good=arguments is None):
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: list[str]) -> int:
    try:
        with stoppable():
            code = cli.main(args=arguments, prog_name="mibench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else EXIT_OK
    except Stopped as stopped:
        _tell(f"Ended by {stopped.name}. The same command continues where this one stopped.")
        return stopped.exit_code
    except (KeyboardInterrupt, click.Abort):
        _tell("Interrupted. The same command continues where this one stopped.")
        return EXIT_INTERRUPTED
    except SystemExit as error:
        if COMPLETION_VARIABLE in os.environ:  # the only thing that click itself ends by exiting
            raise
        _tell(f"Error: a plugin ended the program instead of raising an error ({_exit_of(error)}).")
        return EXIT_PLUGIN
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
        return error.exit_code
    if isinstance(error, MibenchError):
        _tell(f"Error: {error}")
        return error.exit_code
    if isinstance(error, OSError) and (said := disk_trouble(error)):
        _tell(f"Error: {said}")
        return EXIT_FAILED_CELLS
    _tell(f"Unexpected error: {type(error).__name__}: {error}")
    _tell(f"This is a bug in mibench or in a plugin; {DEBUG_VARIABLE}=1 shows the traceback.")
    return EXIT_FAILED_CELLS


def _exit_of(error: SystemExit) -> str:
    from mibench.registry.failures import describe_error, place_of

    place = place_of(error)
    return f"{describe_error(error)} at {place}" if place else describe_error(error)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # after SIGHUP there may be no terminal any more
        click.echo(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
