"""Inputs of stages: any value comes back from its payload, and what is no payload of a stage is refused."""

import dataclasses
import inspect
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_factory import DATA, EVALUATOR, PRIOR, TARGET, inputs

from mibench.api.errors import MibenchError, UsageError
from mibench.api.specs import Spec
from mibench.nodes.classifier import ClassifierInputs, TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import Ref, fields_of
from mibench.nodes.table import function_of, read_inputs, stage, stages
from mibench.protocol.schema import Augmentation, ImageShape, QueryBudget, Recipe
from mibench.protocol.split import HoldOut, PrivateSplit
from mibench.registry.entry import Entry
from mibench.registry.kinds import SPEC_TYPES

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-.0123456789", min_size=1, max_size=8)
KEYS = st.text("0123456789abcdef", min_size=64, max_size=64)
COUNTS = st.integers(0, 2**31)
NUMBERS = st.floats(0, 1, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.builds(Entry, NAMES, NAMES, st.dictionaries(NAMES, JSON, max_size=3))
RECIPES = st.builds(
    Recipe,
    epochs=st.integers(1, 500),
    batch=st.integers(1, 500),
    lr=st.floats(1e-8, 10),
    optimizer=st.sampled_from(["adam", "sgd"]),
    start=st.sampled_from(["random", "public"]),
    drop_last=st.booleans(),
    checkpoint=st.sampled_from(["last", "best_val_loss", "acc:0.5"]),
    augmentation=st.builds(Augmentation, crop_scale=st.none() | st.just((0.5, 1.0)), brightness=NUMBERS),
)
VALUES = {
    Entry: ENTRIES,
    Recipe: RECIPES,
    ImageShape: st.builds(
        ImageShape, size=st.just(8), channels=st.sampled_from([1, 3]), deliver=st.none() | st.just(9)
    ),
    QueryBudget: st.builds(QueryBudget, forward=st.none() | COUNTS, backward=st.none() | COUNTS),
    PrivateSplit: st.builds(PrivateSplit, COUNTS, COUNTS, COUNTS, COUNTS, st.lists(COUNTS, max_size=4)),
    HoldOut: st.builds(HoldOut, COUNTS, COUNTS),
    int: COUNTS,
    float: NUMBERS,
    str: NAMES,
}


def _strategy(hint, made_by=None):
    """Return values of a field's type; those of references have stages that the field allows."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if made_by is not None and hint is Ref:
        return st.builds(Ref, KEYS, st.sampled_from(made_by.stages).map(lambda one: (one,)))
    if origin is typing.Annotated:
        return _strategy(arguments[0], made_by)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(_strategy(arguments[0]), max_size=4)
    if type(None) in arguments:
        return st.none() | _strategy(next(one for one in arguments if one is not type(None)), made_by)
    if made_by is not None:
        return st.dictionaries(NAMES, _strategy(Ref, made_by), max_size=3)
    if arguments:  # a mapping of plain values, which is left out while it is empty
        return st.dictionaries(NAMES, JSON, min_size=1, max_size=3)
    return VALUES[hint]


def _any_inputs(cls):
    hints = typing.get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: _strategy(hints[field.name], field.made_by) for field in fields_of(cls)})


@given(st.data())
def test_any_inputs_come_back_from_the_text_of_their_payload(data):
    cls = data.draw(st.sampled_from(list(stages().values())))
    made = data.draw(_any_inputs(cls))
    payload = made.payload()
    again = read_inputs(json.loads(json.dumps(payload)))
    assert again == made
    assert again.payload() == payload
    assert payload["needs"] == {role: ref.key for role, ref in made.refs().items()}
    assert {role: ref.key for role, ref in again.refs().items()} == payload["needs"]


@given(st.data())
def test_a_payload_states_every_field_that_has_a_value_and_no_other(data):
    cls = data.draw(st.sampled_from(list(stages().values())))
    made = data.draw(_any_inputs(cls))
    told = {field.key for field in fields_of(cls) if field.made_by is None or field.made_by.told}
    stated = {field.key for field in fields_of(cls) if getattr(made, field.name) is not None} & told
    assert set(made.payload()) == {"key_version", "stage", "needs"} | stated


@pytest.mark.parametrize("name", ["data", "prior", "pretrain", "evaluator", "target", "reconstruct", "gold", "measure"])
def test_a_stage_is_known_and_its_function_takes_its_own_inputs(name):
    cls = stage(name)
    (parameter,) = inspect.signature(function_of(cls), eval_str=True).parameters.values()
    (wanted,) = typing.get_args(parameter.annotation)
    assert issubclass(cls, wanted)
    assert wanted is not Inputs


def test_every_component_of_a_stage_is_of_a_kind_that_exists():
    for cls in stages().values():
        kinds = [field.kind for field in fields_of(cls) if field.kind]
        assert set(kinds) <= set(SPEC_TYPES)
        assert all(issubclass(SPEC_TYPES[kind], Spec) for kind in kinds)
        assert not cls.runs or cls.runs in {field.name for field in fields_of(cls) if field.kind}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data", ("dataset", "blobs")),
        ("prior", ("prior", "linear")),
        ("pretrain", ("model", "tiny")),
        ("evaluator", ("model", "tiny")),
        ("target", ("defense", "noisy")),
        ("reconstruct", ("attack", "guess")),
        ("measure", ("metric", "hits")),
        ("gold", None),
    ],
)
def test_the_component_that_a_stage_runs(name, expected):
    found = inputs(name).in_charge()
    assert (found and (found[0], found[1].name)) == expected


def test_components_go_by_their_fields():
    with_embedder = inputs("measure", embedder=Entry("coarse", "1", {}))
    assert {field: kind for field, (kind, _) in with_embedder.components().items()} == {
        "metric": "metric",
        "embedder": "model",
    }
    assert list(inputs("measure").components()) == ["metric"]
    assert list(inputs("target").components()) == ["model", "defense"]


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("reconstruct", {"prior": TARGET}, "reconstruct: prior refers to target; expected prior"),
        ("target", {"private": PRIOR}, "target: private refers to prior; expected data"),
        ("target", {"start": EVALUATOR}, "start refers to evaluator; expected pretrain or target"),
        ("measure", {"evidence": DATA}, "evidence refers to data; expected gold or reconstruct"),
        ("measure", {"evaluators": {"a": EVALUATOR, "b": TARGET}}, "evaluators refers to target; expected evaluator"),
    ],
)
def test_a_reference_to_the_wrong_stage_is_refused_where_it_is_made(stage, changes, message):
    with pytest.raises(ValueError, match=message):
        inputs(stage, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "gold"}, "expected the inputs of stage 'data', key version 1, got stage 'gold', key version 1"),
        ({"key_version": 2}, "got stage 'data', key version 2"),
        ({"colour": "red"}, "the inputs of stage 'data' hold colour, which it has not"),
        ({"needs": {"private": "k"}}, "the inputs of stage 'data' hold private, which it has not"),
        ({"identities": "all"}, "the inputs of stage 'data' cannot be read: identities: Input should be a valid list"),
        ({"image": {"size": 8}}, "cannot be read: image.channels: Field required"),
        ({"dataset": {"name": "blobs", "params": {}}}, "cannot be read: dataset.version: Field required"),
    ],
)
def test_what_is_no_payload_of_a_stage_is_refused(change, message):
    with pytest.raises(MibenchError, match=message):
        DataInputs.read({**inputs("data").payload(), **change})


def test_a_field_that_is_missing_is_named():
    payload = inputs("target").payload()
    del payload["seed"], payload["needs"]["private"]
    with pytest.raises(MibenchError, match="seed: Field required; private: Field required"):
        TargetInputs.read(payload)


def test_an_unknown_stage_is_explained():
    with pytest.raises(UsageError, match=r"Unknown stage 'measur'. Did you mean 'measure'\?"):
        read_inputs({"stage": "measur"})


def test_inputs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        inputs("data").identities = [1]  # type: ignore[attr-defined]


def test_two_stages_of_one_name_are_refused():
    with pytest.raises(ValueError, match="the stage 'data' is both DataInputs and Impostor"):
        type("Impostor", (Inputs,), {"stage": "data"})


def test_a_reference_that_was_read_back_knows_which_stages_can_have_made_it():
    made = inputs("measure", evidence=Ref("g" * 64, ("gold",)))
    read: Any = read_inputs(made.payload())
    assert read.evidence.stages == ("gold", "reconstruct")
    trained: Any = read_inputs(inputs("target", start=Ref("s" * 64, ("target",))).payload())
    assert trained.start.stages == ("target",)


@pytest.mark.parametrize(
    ("stage", "changes", "classes"),
    [("pretrain", {"classes": 7}, 7), ("target", {}, 3), ("evaluator", {}, 3)],
)
def test_how_many_classes_a_classifier_tells_apart(stage, changes, classes):
    made: Any = inputs(stage, **changes)
    assert made.num_classes == classes


def test_a_kind_of_classifier_that_does_not_say_is_found_out():
    made: Any = inputs("pretrain")
    with pytest.raises(NotImplementedError):
        ClassifierInputs.num_classes.fget(made)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("names", "judge"), [((), None), (("net",), "net"), (("z", "b", "m"), "b")])
def test_an_attack_chooses_by_the_first_judge_in_the_order_of_names(names, judge):
    made: Any = inputs("reconstruct", evaluators=dict.fromkeys(names, EVALUATOR))
    assert made.judge == judge


def test_references_come_in_the_order_of_their_roles():
    made = inputs("reconstruct", evaluators={"b": EVALUATOR, "a": EVALUATOR}, public=DATA)
    assert list(made.refs().items()) == [
        ("evaluator:a", EVALUATOR), ("evaluator:b", EVALUATOR), ("prior", PRIOR), ("public", DATA), ("target", TARGET),
    ]  # fmt: skip


def test_what_is_unset_is_no_reference_and_no_component():
    assert list(inputs("measure").refs()) == ["private"]
    assert inputs("gold").components() == {}
    assert inputs("gold").in_charge() is None


@pytest.mark.parametrize("name", ["net", "a:b", "evaluator:", ""])
def test_a_judge_may_have_any_name(name):
    made: Any = inputs("measure", evaluators={name: EVALUATOR})
    assert made.payload()["needs"] == {f"evaluator:{name}": EVALUATOR.key, "private": DATA.key}
    again: Any = read_inputs(made.payload())
    assert dict(again.evaluators) == {name: EVALUATOR}


def test_a_payload_is_not_changed_by_reading_it():
    payload = inputs("target", start=TARGET).payload()
    before = json.dumps(payload)
    read_inputs(payload)
    assert json.dumps(payload) == before


def test_a_start_that_does_not_say_which_stage_made_it_is_refused():
    payload = inputs("target", start=TARGET).payload()
    assert payload["start"] == "target"
    with pytest.raises(MibenchError) as told:
        read_inputs({**payload, "start": "data"})
    assert str(told.value) == (
        "the inputs of stage 'target' cannot be read: target: start refers to data; expected pretrain or target"
    )


def test_a_class_between_stages_is_none_itself():
    made: Any = type("Between", (Inputs,), {})
    assert made.stage == ""
    assert made not in stages().values()


def test_a_stage_inherits_its_work_and_not_its_name_in_figures():
    assert (stage("target").run, stage("evaluator").run) == (ClassifierInputs.run, ClassifierInputs.run)
    assert (stage("pretrain").timed_as, stage("target").timed_as, ClassifierInputs.timed_as) == ("target", "target", "")
