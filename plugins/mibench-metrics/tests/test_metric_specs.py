import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mibench_metrics

from mibench.api import Metric
from mibench.api.params import build, canonical, describe

SPECS = list(mibench_metrics.mibench_metrics())


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, mibench_metrics; assert len(list(mibench_metrics.mibench_metrics())) == 19;"
        "bad = {'torch', 'numpy', 'pyautoattack', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_specs_point_at_metrics_whose_parameters_are_documented():
    groups = {spec.name: spec.group for spec in SPECS}
    assert groups == {
        "accuracy": "utility",
        "robust-accuracy": "robustness",
        "attack-accuracy": "leakage",
        "re-identification": "leakage",
        "identity-bits": "leakage",
        "face-shape": "leakage",
        "delta-face": "leakage",
        "delta-eval": "leakage",
        "mi-roc": "leakage",
        "training-leakage": "leakage",
        "sample-quality": "leakage",
        "target-confidence": "leakage",
        "feature-clusters": "dependency",
        "dependency": "dependency",
        "fisher-information": "dependency",
        "hcr": "dependency",
        "gradient-alignment": "dependency",
        "memorisation": "utility",
        "training-distance": "leakage",
    }
    for spec in SPECS:
        module, _, name = spec.factory.partition(":")
        component = getattr(import_module(module), name)
        assert issubclass(component, Metric)
        assert all(row.doc for row in describe(component)), spec.name
        for settings in ({}, *component.presets.values()):
            canonical(build(component, settings))
        if spec.paper:
            assert (Path(mibench_metrics.__file__).parent / spec.paper).read_text().startswith("@")
