"""Torch is told how to wait and where to lie before it is loaded, unless somebody has said otherwise."""

import os
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE")
PROBE = (
    "import os, sys; {before}; from mibench.execute.before_torch import prepare_torch; prepare_torch(); "
    f"print(*map(os.environ.get, {NAMES}))"
)


def _told(before="pass", **variables):
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "THP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before)], env=unset | variables, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "1000 1"),
        ({"GOMP_SPINCOUNT": "5"}, "5 1"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None 1"),
        ({"THP_MEM_ALLOC_ENABLE": "0"}, "1000 0"),
    ],
)
def test_the_users_choice_stands(variables, told):
    assert _told(**variables) == told


def test_nothing_is_set_once_torch_has_read_it():
    assert _told(before="sys.modules['torch'] = None") == "None None"


def test_planning_sets_both_before_torch_is_imported(toy_registry, tmp_path, monkeypatch):
    from mibench.protocol.request import Request
    from mibench.session.run import plan_request

    for name in (*NAMES, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    seen = []
    monkeypatch.setattr(
        "mibench.session.run.make_plan", lambda *_, **__: seen.append([os.environ.get(name) for name in NAMES])
    )
    plan_request(Request(protocols=("toy",), store=tmp_path, device="cpu"), toy_registry)
    assert seen == [["1000", "1"]]
