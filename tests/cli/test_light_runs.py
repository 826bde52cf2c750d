"""A run whose every stage is cached, a dry run and ``show`` import no torch once their answers are known."""

import os
import subprocess
import sys

import fake_plugin
import pytest

PROBE = (
    "import sys; from mibench.cli.main import main; code = main(sys.argv[1:]); "
    "print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
)
RUN = ["run", "--protocol", "toy", "-d", "noisy", "-a", "guess", "--device", "cpu"]
COMMANDS = {
    "run": [*RUN, "--output", "again"],
    "run --json": [*RUN, "--json", "--output", "json"],
    "run without --device": [*RUN[:-2], "--output", "auto"],
    "run, local": [*RUN, "--executor", "local", "--output", "local"],
    "dry run": [*RUN, "--dry-run"],
    "show": ["show", "attack", "picky"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run once, with everything imported that has to be."""
    folder = tmp_path_factory.mktemp("light")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([fake_plugin.install(folder / "site"), os.environ.get("PYTHONPATH", "")]),
        "MIBENCH_STORE": str(folder / "store"),
        "MIBENCH_THREADS": "1",
    }

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-c", PROBE, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )

    for arguments in ([*RUN, "--output", "first"], COMMANDS["show"]):
        first = command(*arguments)
        assert first.returncode == 0, first.stderr
        assert first.stderr.splitlines()[-1] == "True"
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_known_is_answered_without_torch(made, name):
    done = made(*COMMANDS[name])
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "False"


def test_a_plan_of_other_settings_is_light_too_once_its_answers_are_known(made):
    changed = [*RUN, "--seed", "7", "--dry-run"]
    assert made(*changed).stderr.splitlines()[-1] == "False"


def test_what_nobody_can_remember_is_shown_all_the_same(monkeypatch, capsys):
    from mibench.api import UsageError
    from mibench.cli.main import main

    def homeless():
        raise UsageError("There is no folder for the store")

    monkeypatch.setattr("mibench.store.store.default_root", homeless)
    assert main(["show", "metric", "accuracy"]) == 0
    assert "parameters" in capsys.readouterr().out
