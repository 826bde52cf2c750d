"""The table of stages: every module that defines one is found, and its function is imported only when it is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

import mibench.nodes
from mibench.api.errors import MibenchError, UsageError
from mibench.nodes.inputs import KNOWN, Inputs
from mibench.nodes.table import function_of, read_inputs, stage, stages

NAMES = {"data", "prior", "pretrain", "evaluator", "target", "reconstruct", "gold", "measure"}


def test_all_stages_are_there_whatever_was_imported_before():
    script = "from mibench.nodes.table import stages; import sys; print(*sorted(stages()), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert told == [*sorted(NAMES), "False"]


def test_a_stage_is_found_under_its_own_name():
    assert set(stages()) == NAMES
    for name, found in stages().items():
        assert stage(name) is found is KNOWN[name]
        assert (found.stage, issubclass(found, Inputs)) == (name, True)


def test_each_stage_names_a_function_of_a_module_of_stages():
    for found in stages().values():
        module, _, name = found.run.partition(":")
        assert module.startswith("mibench.stages.")
        made = function_of(found)
        assert (made.__module__, made.__name__) == (module, name)


def test_every_stage_says_how_it_is_timed():
    timed = {name: (found.timed_as, found.timed_by_component) for name, found in stages().items()}
    assert timed == {
        "data": ("data", False), "gold": ("gold", False), "target": ("target", False), "pretrain": ("target", False),
        "evaluator": ("evaluator", False), "prior": ("prior", True), "reconstruct": ("reconstruct", True),
        "measure": ("measure", True),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "Target", "targets", "None"])
def test_a_stage_that_is_not_there_is_explained(name):
    with pytest.raises(UsageError, match=f"Unknown stage {name!r}.*"):
        stage(name)


@pytest.mark.parametrize("payload", [{}, {"stage": None}, {"stage": 7}, {"stage": ["data"]}])
def test_a_payload_without_a_stage_is_refused(payload):
    with pytest.raises(UsageError, match="Unknown stage"):
        read_inputs(payload)


def test_a_payload_of_an_older_version_is_refused_with_both_versions():
    with pytest.raises(MibenchError, match=r"stage 'data', key version 1, got stage 'data', key version None"):
        read_inputs({"stage": "data"})


def test_the_room_holds_the_modules_that_the_table_imports():
    modules = {path.stem for path in Path(mibench.nodes.__file__).parent.glob("*.py")} - {"__init__"}
    assert {found.__module__.rpartition(".")[2] for found in stages().values()} <= modules
    assert all(f"mibench.nodes.{name}" in sys.modules for name in modules)
