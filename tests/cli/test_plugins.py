"""``mibench plugins check``: a line for each check, what failed and why, and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from mibench.api.hookspecs import hookimpl
from mibench.api.specs import DatasetSpec, DefenseSpec, ImporterSpec, ProtocolSpec
from mibench.registry.registry import Registry

PARTS = """
    from dataclasses import dataclass
    from typing import Annotated, ClassVar

    import torch
    from annotated_types import Ge
    from mibench.api import DataError, Dataset, Defense, Importer

    @dataclass(frozen=True, kw_only=True)
    class Good(Defense):
        '''Plain training.

        Attributes:
            scale: of the loss.
        '''

        presets: ClassVar = {"half": {"scale": 0.5}, "twice": {"scale": 2.0}}
        scale: Annotated[float, Ge(0)] = 1.0

        def loss(self, outputs, y_B, ctx):
            ctx.extras["scale"] = torch.tensor([self.scale])
            return self.scale * super().loss(outputs, y_B, ctx)

    @dataclass(frozen=True, kw_only=True)
    class Bad(Defense):
        '''Draws from the operating system.'''

        def training_step(self, model, x_BCHW, y_B, ctx):
            import os

            return super().training_step(model, x_BCHW + os.urandom(1)[0] / 2550, y_B, ctx)

        def self_check(self, model, ctx):
            raise SystemExit(3)

    @dataclass(frozen=True, kw_only=True)
    class Absent(Dataset):
        '''Waits for a file.'''

        def num_identities(self):
            return 5

        def load(self, identities, *, size, channels):
            raise DataError("nothing here")

        def missing(self):
            return ["faces.zip: get it from its owner"]

    class Closed(Importer):
        def run(self, source, folder):
            raise DataError(f"{source} is nothing that this reads; expected a note.")
"""


class Plugin:
    @hookimpl
    def mibench_defenses(self):
        yield DefenseSpec(name="good", factory="checked_parts:Good", summary="s")
        yield DefenseSpec(name="bad", factory="checked_parts:Bad", summary="s")
        yield DefenseSpec(name="lost", factory="checked_parts:Lost", summary="s")
        yield DefenseSpec(name="absent", factory="checked_parts:Good", summary="s")

    @hookimpl
    def mibench_datasets(self):
        yield DatasetSpec(name="absent", factory="checked_parts:Absent", summary="s")

    @hookimpl
    def mibench_importers(self):
        yield ImporterSpec(name="closed", factory="checked_parts:Closed", summary="s")

    @hookimpl
    def mibench_protocols(self):
        yield ProtocolSpec(name="frozen", factory="checked_parts:Good", summary="s", version="1.0", file="x:y.yaml")


@pytest.fixture()
def check(mibench, tmp_path, monkeypatch):
    """Return ``check(*arguments)``, the command among the components above."""
    (tmp_path / "checked_parts.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("mibench.cli.plugins.load_registry", lambda: Registry.from_modules(Plugin()))
    yield lambda *arguments: mibench("plugins", "check", *arguments)
    sys.modules.pop("checked_parts", None)


def test_a_sound_component_passes_line_by_line(check):
    shown = check("good")
    assert shown.code == 0
    head, *lines = shown.out.splitlines()
    assert head == "defense good (Plugin 0)"
    assert "  passed  follows no global seed" in lines
    assert "  passed  target stage" in lines
    assert len(lines) > 12
    assert all(line.startswith("  passed  ") for line in lines)


def test_what_fails_says_why_and_the_exit_code_is_one(check):
    shown = check("bad", "--json")
    document = json.loads(shown.out)
    assert (shown.code, document["passed"]) == (1, False)
    rows = {row["check"]: row for row in document["checks"]}
    assert {(row["kind"], row["name"]) for row in rows.values()} == {("defense", "bad")}
    assert rows["is_a_frozen_dataclass"]["verdict"] == "passed"
    assert rows["self_check_reports"]["verdict"] == "error"  # it ends programs; this one goes on
    assert "SystemExit: 3" in rows["self_check_reports"]["message"]
    assert all(row["meaning"] for row in rows.values())
    assert "error" in check("bad").out


def test_a_dataset_without_its_files_is_skipped_with_the_reason(check):
    shown = check("absent", "--kind", "dataset")
    assert shown.code == 0
    assert "  skipped delivers images: faces.zip: get it from its owner" in shown.out.splitlines()


def test_presets_and_settings_reach_the_component(check, monkeypatch):
    seen = []
    from mibench.testing import runner

    def contract(kind, component, settings=None, **_):
        seen.append(dict(settings or {}))
        return type("Empty", (), {})

    monkeypatch.setattr(runner, "contract_for", contract)
    for arguments in ([], ["--preset", "twice"], ["--set", "defense.scale=3"], ["--set", "good.scale=4"]):
        assert check("good", *arguments).code == 0
    assert seen == [{}, {"scale": 2.0}, {"scale": 3}, {"scale": 4}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["goood"], "Did you mean 'good'?"),
        (["goood", "--kind", "defense"], "Did you mean 'good'?"),
        (["good", "--kind", "defence"], "Did you mean 'defense'?"),
        (["good", "--preset", "twic"], "Did you mean 'twice'?"),
        (["good", "--set", "attack.scale=3"], "it is for none of the checked components"),
        (["good", "--set", "good.scal=3"], "Did you mean 'scale'?"),
        (["good", "--set", "good.scale=-3"], "scale"),
        (["absent"], "choose one with --kind"),
        ([], "Give either names of components or --distribution"),
        (["good", "--distribution", "Plugin"], "Give either names of components or --distribution"),
        (["--distribution", "Plugins"], "Did you mean 'Plugin'?"),
        (["frozen", "--kind", "protocol"], "A protocol has no contract"),
    ],
)
def test_wrong_requests_are_explained(check, arguments, told):
    shown = check(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err


def test_a_component_that_cannot_be_loaded_is_a_broken_plugin(check):
    shown = check("lost")
    assert shown.code == 3
    assert "has no attribute 'Lost'" in shown.err


def test_all_components_of_a_distribution(check, monkeypatch):
    class Fewer:
        mibench_datasets, mibench_importers = Plugin.mibench_datasets, Plugin.mibench_importers

    monkeypatch.setattr("mibench.cli.plugins.load_registry", lambda: Registry.from_modules(Fewer()))
    shown = check("--distribution", "Fewer")
    assert shown.code == 0
    heads = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert heads == ["dataset absent (Fewer 0)", "importer closed (Fewer 0)"]
    assert "  passed  refuses garbage" in shown.out.splitlines()


def test_the_cores_own_executor_keeps_its_contract(mibench):
    shown = mibench("plugins", "check", "inline")
    assert (shown.code, shown.err) == (0, "")
    assert "  passed  an interruption ends it" in shown.out.splitlines()


def test_importing_the_command_and_its_help_need_no_torch():
    code = (
        "import sys; from mibench.cli.main import main; main(['plugins', 'check', '--help']);"
        "sys.exit(bool({'torch', 'pytest', 'mibench.testing'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
