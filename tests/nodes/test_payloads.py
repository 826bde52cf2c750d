"""What each stage's payload is, to the byte: every key and every published record depends on it."""

import hashlib
import json
from typing import Any

import pytest
from node_factory import DATA, EVALUATOR, IMAGE, PRIOR, SPLIT, TARGET, inputs

from mibench.nodes.marks import Ref
from mibench.nodes.table import read_inputs, stages
from mibench.protocol.schema import Augmentation, ImageShape, QueryBudget, Recipe
from mibench.protocol.split import HoldOut
from mibench.registry.entry import Entry

RECIPE = (
    '{"augmentation":{"brightness":0.0,"contrast":0.0,"crop_scale":[0.85,1.0],"flip":0.5},"batch":5,'
    '"betas":[0.9,0.999],"epochs":5,"gamma":0.1,"lr":0.001,"milestones":[0.75,0.9],"momentum":0.9,"optimizer":"adam",'
    '"weight_decay":0.0}'
)
PEOPLE = '{"identities":[1,4,5],"seed":7,"test":2,"train":4,"val":1}'
SMALL = '{"channels":1,"size":16}'
TINY = '{"name":"tiny","params":{"width":3},"version":"1"}'
D, P, T, E = "d" * 64, "p" * 64, "t" * 64, "e" * 64
LARGE = ImageShape(size=16, channels=1, deliver=24)

CASES = {
    "data": (
        inputs("data"),
        '{"dataset":{"name":"blobs","params":{"identities":12},"version":"1"},"identities":[0,2],'
        f'"image":{SMALL},"key_version":1,"needs":{{}},"stage":"data"}}',
    ),
    "prior": (
        inputs("prior"),
        f'{{"image":{SMALL},"key_version":1,"needs":{{"public":"{D}"}},'
        '"prior":{"name":"linear","params":{"steps":12},"version":"2"},"seed":0,"stage":"prior"}',
    ),
    "a prior that asks the target": (
        inputs("prior", target=TARGET, classes=3),
        f'{{"classes":3,"image":{SMALL},"key_version":1,"needs":{{"public":"{D}","target":"{T}"}},'
        '"prior":{"name":"linear","params":{"steps":12},"version":"2"},"seed":0,"stage":"prior"}',
    ),
    "pretrain": (
        inputs("pretrain"),
        f'{{"classes":4,"image":{SMALL},"key_version":1,"model":{TINY},"needs":{{"public":"{D}"}},'
        f'"precision":"fp32","recipe":{RECIPE},"seed":3,"stage":"pretrain"}}',
    ),
    "a public training that validates": (
        inputs("pretrain", validation=HoldOut(images=0, seed=7)),
        f'{{"classes":4,"image":{SMALL},"key_version":1,"model":{TINY},"needs":{{"public":"{D}"}},'
        f'"precision":"fp32","recipe":{RECIPE},"seed":3,"stage":"pretrain","validation":{{"images":0,"seed":7}}}}',
    ),
    "evaluator": (
        inputs("evaluator"),
        f'{{"image":{SMALL},"key_version":1,"model":{TINY},"needs":{{"private":"{D}"}},"precision":"fp32",'
        f'"recipe":{RECIPE},"seed":3,"split":{PEOPLE},"stage":"evaluator"}}',
    ),
    "target": (
        inputs("target"),
        f'{{"defense":{{"name":"noisy","params":{{"lam":0.25}},"version":"1"}},"image":{SMALL},"key_version":1,'
        f'"model":{TINY},"needs":{{"private":"{D}"}},"precision":"fp32","recipe":{RECIPE},"seed":3,'
        f'"split":{PEOPLE},"stage":"target"}}',
    ),
    "a target that starts from another": (
        inputs("target", start=Ref("s" * 64, ("target",)), pretrain=Ref("w" * 64, ("pretrain",))),
        f'{{"defense":{{"name":"noisy","params":{{"lam":0.25}},"version":"1"}},"image":{SMALL},"key_version":1,'
        f'"model":{TINY},"needs":{{"pretrain":"{"w" * 64}","private":"{D}","start":"{"s" * 64}"}},'
        f'"precision":"fp32","recipe":{RECIPE},"seed":3,"split":{PEOPLE},"stage":"target","start":"target"}}',
    ),
    "reconstruct": (
        inputs("reconstruct"),
        '{"attack":{"name":"guess","params":{},"version":"1"},"budget":{"backward":null,"forward":null},'
        f'"image":{SMALL},"key_version":1,"needs":{{"prior":"{P}","target":"{T}"}},"seed":3,"stage":"reconstruct"}}',
    ),
    "an attack with everything": (
        inputs(
            "reconstruct",
            public=DATA,
            evaluators={"judge": EVALUATOR},
            image=LARGE,
            budget=QueryBudget(forward=9),
            deploy={"truncation": 0.5},
            attacked=[0, 2],
        ),
        '{"attack":{"name":"guess","params":{},"version":"1"},"attacked":[0,2],'
        '"budget":{"backward":null,"forward":9},"deploy":{"truncation":0.5},'
        '"image":{"channels":1,"deliver":24,"size":16},"key_version":1,'
        f'"needs":{{"evaluator:judge":"{E}","prior":"{P}","public":"{D}","target":"{T}"}},'
        '"seed":3,"stage":"reconstruct"}',
    ),
    "gold": (
        inputs("gold", attacked=[1]),
        f'{{"attacked":[1],"key_version":1,"needs":{{"private":"{D}"}},"part":"test","split":{PEOPLE},"stage":"gold"}}',
    ),
    "measure": (
        inputs("measure", split_name="val"),
        f'{{"key_version":1,"metric":{{"name":"hits","params":{{}},"version":"1"}},"needs":{{"private":"{D}"}},'
        f'"part":"val","split":{PEOPLE},"stage":"measure"}}',
    ),
    "a metric that needs everything": (
        inputs(
            "measure",
            target=TARGET,
            evidence=Ref("g" * 64, ("gold",)),
            evaluators={"b": EVALUATOR, "a": EVALUATOR},
            embedder=Entry("coarse", "3", {}),
            image=IMAGE,
        ),
        f'{{"embedder":{{"name":"coarse","params":{{}},"version":"3"}},"image":{SMALL},"key_version":1,'
        '"metric":{"name":"hits","params":{},"version":"1"},'
        f'"needs":{{"evaluator:a":"{E}","evaluator:b":"{E}","evidence":"{"g" * 64}","private":"{D}","target":"{T}"}},'
        f'"part":"test","split":{PEOPLE},"stage":"measure"}}',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_payload_is_this_text(case):
    made, text = CASES[case]
    assert json.dumps(made.payload(), sort_keys=True, separators=(",", ":")) == text


@pytest.mark.parametrize("case", CASES)
def test_a_payload_is_read_as_what_it_was_written_from(case):
    made, text = CASES[case]
    again = read_inputs(json.loads(text))
    assert again == made
    assert type(again) is type(made)
    assert again.payload() == made.payload()


def test_every_stage_has_its_case():
    assert {made.stage for made, _ in CASES.values()} == set(stages())


def test_the_order_of_roles_does_not_depend_on_who_asks():
    one = inputs("measure", evaluators={"b": EVALUATOR, "a": EVALUATOR}, target=TARGET)
    assert list(one.payload()["needs"]) == ["evaluator:a", "evaluator:b", "private", "target"]


def test_a_young_option_of_a_recipe_is_in_the_payload_only_when_it_is_used():
    plain = inputs("target").payload()["recipe"]
    assert not {"checkpoint", "validate_every", "drop_last", "start"} & set(plain)
    changed = Recipe(epochs=5, batch=5, drop_last=True, augmentation=Augmentation(hue=0.1))
    recipe = inputs("target", recipe=changed).payload()["recipe"]
    assert recipe["drop_last"] is True
    assert recipe["augmentation"]["hue"] == 0.1
    read: Any = read_inputs(inputs("target", recipe=changed).payload())
    assert read.recipe == changed


def _all_keys(registry, **fields):
    from mibench.plan.cells import expand
    from mibench.protocol.request import Request

    request = Request(**{"protocols": ("toy",), "attacks": ("guess",), "defenses": ("noisy",), **fields})
    found = {key for cell in expand(request, registry) for key in cell.graph.nodes}
    return hashlib.sha256(" ".join(sorted(found)).encode()).hexdigest()[:16], len(found)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("50f4e2370c132009", 20)),
        (
            {
                "attacks": ("picky", "reader"),
                "defenses": ("noisy+flipped", "warm", "staged"),
                "settings": {"picky.brings": "guided"},
            },
            ("1de6fd254eea546e", 48),
        ),
        ({"variant": "validation", "seeds": (3, 4), "models": ("tiny/wide",)}, ("faab63b483d101f0", 33)),
        ({"protocols": ("other",)}, ("ff7e99deb76a401e", 20)),
    ],
)
def test_the_keys_of_whole_plans_are_those_that_were_published(toy_registry, fields, expected):
    assert _all_keys(toy_registry, **fields) == expected


def test_a_split_is_part_of_many_payloads_and_the_same_in_all():
    split = {"seed": 7, "train": 4, "val": 1, "test": 2, "identities": [1, 4, 5]}
    assert vars(SPLIT) == {**split, "assigned": False}
    assert all(inputs(stage).payload()["split"] == split for stage in ("target", "evaluator", "gold", "measure"))
    assert PRIOR.stage == "prior"
