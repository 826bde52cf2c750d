"""The protocol lines of docs/paper-scale-judges.md are protocol lines, and say what the published recipe says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mibench_metrics import METRICS

from mibench.protocol.choices import Evaluator
from mibench.protocol.image import ImageShape
from mibench.protocol.strict_yaml import parse_yaml
from mibench.registry.registry import load_registry

PAGE = (Path(__file__).parents[2] / "docs" / "paper-scale-judges.md").read_text(encoding="utf-8")
BLOCKS = [parse_yaml(text, "page") for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(scope="module")
def evaluators():
    return [Evaluator.model_validate(one) for block in BLOCKS for one in block["evaluators"]]


def test_the_recipe_is_the_published_one(evaluators):
    recipe = evaluators[0].recipe
    assert [round(fraction * recipe.epochs) for fraction in recipe.milestones] == [75, 90]
    assert (recipe.epochs, recipe.batch, recipe.optimizer, recipe.lr, recipe.weight_decay) == (
        100,
        128,
        "adam",
        1e-3,
        0,
    )
    jitter = recipe.augmentation
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.2, 0.2, 0.1, 0.1)
    assert (jitter.crop_scale, jitter.flip) == ((0.85, 1.0), 0.5)
    assert ImageShape.model_validate(BLOCKS[0]["image"]).judged.size == 299
    model = load_registry().component("model", evaluators[0].model.name)
    assert model.presets[evaluators[0].model.preset] == {"aux_weight": 1.0}


def test_one_that_comes_trained_states_what_it_must_reach(evaluators):
    assert (evaluators[1].recipe.epochs, evaluators[1].least_accuracy) == (0, 0.94)


def test_every_column_of_the_new_metrics_is_on_the_page():
    specs = {spec.name: spec for spec in METRICS}
    for name in ("delta-face", "delta-eval", "mi-roc", "training-leakage", "sample-quality"):
        assert f"| `{name}` |" in PAGE
        for column in specs[name].columns:
            base = column.name.split("/")[0]
            assert base in PAGE or base.startswith("inception_"), base
