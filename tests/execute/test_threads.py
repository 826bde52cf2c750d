"""Threads that wait are told to sleep soon, unless somebody has said otherwise."""

import os
import subprocess
import sys

import pytest

PROBE = (
    "import os, sys; {before}; from mibench.execute.threads import wait_briefly; wait_briefly(); "
    "print(os.environ.get('GOMP_SPINCOUNT'))"
)


def _spins(before="pass", **variables):
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before)], env=unset | variables, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_the_users_choice_stands(variables, spins):
    assert _spins(**variables) == spins


def test_nothing_is_set_once_torch_has_read_it():
    assert _spins(before="sys.modules['torch'] = None") == "None"


def test_planning_sets_it_before_torch_is_imported(toy_registry, tmp_path, monkeypatch):
    from mibench.protocol.request import Request
    from mibench.session.run import plan_request

    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    seen = []
    monkeypatch.setattr("mibench.session.run.make_plan", lambda *_, **__: seen.append(os.environ.get("GOMP_SPINCOUNT")))
    plan_request(Request(protocols=("toy",), store=tmp_path, device="cpu"), toy_registry)
    assert seen == ["1000"]
