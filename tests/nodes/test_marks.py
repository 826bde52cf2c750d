"""What the marks on a stage's inputs say of each field, on classes that are made up for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from mibench.nodes.classifier import TargetInputs
from mibench.nodes.marks import (
    AttackEntry,
    DataRef,
    DatasetEntry,
    DefenseEntry,
    EvaluatorRefs,
    Field,
    MadeBy,
    MetricEntry,
    ModelEntry,
    Named,
    Of,
    PriorEntry,
    PriorRef,
    Ref,
    TargetRef,
    fields_of,
)
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.registry.entry import Entry
from mibench.registry.kinds import SPEC_TYPES


@dataclass
class Plain:
    first: int
    second: str = "x"
    third: list[int] = field(default_factory=list)


@dataclass
class Marked:
    one: DataRef
    several: EvaluatorRefs
    maybe: Annotated[Ref, MadeBy("gold", "reconstruct", told=True)] | None = None
    either: Annotated[Mapping[str, Ref], MadeBy("evaluator", "target")] = field(default_factory=dict)
    renamed: Annotated[int, Named("part")] = 0
    renamed_ref: Annotated[Ref, MadeBy("data"), Named("images")] | None = None
    component: ModelEntry | None = None
    twice: Annotated[Annotated[Entry, Of("metric")], Named("measure")] | None = None
    values: Mapping[str, Any] | None = None


def one(cls, name):
    (found,) = [field for field in fields_of(cls) if field.name == name]
    return found


def test_fields_without_marks_are_values_under_their_own_names():
    assert fields_of(Plain) == (
        Field("first", "first", None, several=False, kind="", required=True),
        Field("second", "second", None, several=False, kind="", required=False),
        Field("third", "third", None, several=False, kind="", required=False),
    )


def test_fields_come_in_the_order_in_which_they_are_written():
    assert [field.name for field in fields_of(Marked)] == list(Marked.__annotations__)
    assert fields_of(Marked) is fields_of(Marked)  # looked at once


@pytest.mark.parametrize(
    ("name", "stages", "told", "several", "required"),
    [
        ("one", ("data",), False, False, True),
        ("several", ("evaluator",), False, True, True),
        ("maybe", ("gold", "reconstruct"), True, False, False),
        ("either", ("evaluator", "target"), False, True, False),
        ("renamed_ref", ("data",), False, False, False),
    ],
)
def test_a_reference_says_who_can_have_made_it(name, stages, told, several, required):
    found = one(Marked, name)
    assert (found.made_by.stages, found.made_by.told) == (stages, told)
    assert (found.several, found.required, found.kind) == (several, required, "")


@pytest.mark.parametrize("name", ["renamed", "component", "values"])
def test_a_value_is_no_reference(name):
    assert (one(Marked, name).made_by, one(Marked, name).several) == (None, False)


def test_another_name_is_for_payloads_alone():
    keys = {field.name: field.key for field in fields_of(Marked)}
    changed = {"renamed": "part", "renamed_ref": "images", "twice": "measure"}
    assert keys == {name: changed.get(name, name) for name in Marked.__annotations__}


@pytest.mark.parametrize(("name", "kind"), [("component", "model"), ("twice", "metric"), ("one", ""), ("values", "")])
def test_a_component_says_of_which_kind_it_is(name, kind):
    assert one(Marked, name).kind == kind


@pytest.mark.parametrize(
    ("name", "judge", "role"),
    [
        ("one", "", "one"),
        ("renamed_ref", "", "images"),  # as payloads call it
        ("several", "net", "evaluator:net"),
        ("several", "a:b", "evaluator:a:b"),
        ("several", "", "evaluator:"),
        ("either", "net", "evaluator:net"),  # the first of those that can have made it
        ("renamed", "", "part"),
    ],
)
def test_the_role_of_a_reference(name, judge, role):
    assert one(Marked, name).role(judge) == role


def test_the_ready_made_marks_say_what_their_names_say():
    @dataclass
    class All:
        dataset: DatasetEntry
        model: ModelEntry
        prior: PriorEntry
        defense: DefenseEntry
        attack: AttackEntry
        metric: MetricEntry
        data_ref: DataRef
        target_ref: TargetRef
        prior_ref: PriorRef

    # The annotations are those of a function, so they are given as they would be found in a module.
    All.__annotations__ = {
        "dataset": DatasetEntry, "model": ModelEntry, "prior": PriorEntry, "defense": DefenseEntry,
        "attack": AttackEntry, "metric": MetricEntry, "data_ref": DataRef, "target_ref": TargetRef,
        "prior_ref": PriorRef,
    }  # fmt: skip
    found = {field.name: field for field in fields_of(All)}
    kinds = {name: found[name].kind for name in ("dataset", "model", "prior", "defense", "attack", "metric")}
    assert all(name == kind and kind in SPEC_TYPES for name, kind in kinds.items())
    assert [found[f"{stage}_ref"].made_by.stages for stage in ("data", "target", "prior")] == [
        ("data",), ("target",), ("prior",),
    ]  # fmt: skip


def test_a_reference_is_its_key_whoever_is_thought_to_have_made_it():
    known, open_ = Ref("k" * 64, ("gold",)), Ref("k" * 64, ("reconstruct", "gold"))
    assert known == open_
    assert len({known, open_}) == 1
    assert (known.stage, open_.stage) == ("gold", "reconstruct")
    assert known != Ref("l" * 64, ("gold",))


@pytest.mark.parametrize(
    ("inputs", "references"),
    [
        (TargetInputs, {"private": ("data",), "start": ("pretrain", "target"), "pretrain": ("pretrain",)}),
        (
            ReconstructInputs,
            {"target": ("target",), "prior": ("prior",), "public": ("data",), "evaluators": ("evaluator",)},
        ),
        (
            MeasureInputs,
            {
                "private": ("data",),
                "target": ("target",),
                "evidence": ("gold", "reconstruct"),
                "evaluators": ("evaluator",),
                "gallery": ("data",),
                "distractors": ("data",),
            },
        ),
    ],
)
def test_what_stages_refer_to(inputs, references):
    assert {field.name: field.made_by.stages for field in fields_of(inputs) if field.made_by} == references


def test_only_the_start_of_a_target_is_told_apart_in_its_payload():
    told = {(cls.stage, field.name) for cls in (TargetInputs, ReconstructInputs, MeasureInputs)
            for field in fields_of(cls) if field.made_by and field.made_by.told}  # fmt: skip
    assert told == {("target", "start")}
