"""No defense is the base class and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mibench_defenses
import torch
from mibench_defenses.methods.none import NoDefense

from mibench.api import Defense
from mibench.testing import DefenseContract, TinyWorld, train_steps


class TestContract(DefenseContract):
    component = NoDefense


def test_it_trains_as_the_base_class_does():
    base = train_steps(Defense(), TinyWorld()).model.state_dict()
    none = train_steps(NoDefense(), TinyWorld()).model.state_dict()
    assert all(torch.equal(base[name], none[name]) for name in base)


def test_listing_imports_nothing_heavy():
    code = "import sys, mibench_defenses; list(mibench_defenses.mibench_defenses()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bibliographies_exist():
    folder = Path(mibench_defenses.__file__).parent
    papers = [spec.paper for spec in mibench_defenses.mibench_defenses() if spec.paper]
    assert all((folder / paper).read_text().startswith("@") for paper in papers)
