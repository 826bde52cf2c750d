"""Groups of parameters: nested and flat names, defaults of the component, marks, errors, canonical form."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Lt
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import FlatNames, InferenceOnly, InputFile, OmitIfDefault, PluginError, UsageError, params


@dataclass(frozen=True, kw_only=True)
class View:
    """How it is seen.

    Attributes:
        scale: smallest and largest share.
        flip: probability of mirroring.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    flip: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class Search:
    """A descent.

    Attributes:
        lr: learning rate.
        steps: updates.
        start: file that holds the start.
        young: came later.
        view: of what is descended.
    """

    lr: Annotated[float, Gt(0)] = 1.0
    steps: Annotated[int, Ge(0)] = 10
    start: Annotated[str, InputFile("none")] = "none"
    young: Annotated[int, OmitIfDefault()] = 3
    view: View = View()

    def __post_init__(self):
        if self.lr > self.steps:
            raise ValueError("lr must not be above steps")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Where it starts.

    Attributes:
        size: how many.
        kind: of which kind.
    """

    size: int
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How it is used.

    Attributes:
        compute: number format.
    """

    compute: str = "fp32"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A component.

    Attributes:
        final: images.
        search: how it descends.
    """

    presets: ClassVar = {
        "nested": {"search": {"lr": 0.2, "view": {"flip": 0.5}}},
        "dotted": {"search.lr": 0.2, "search.view.flip": 0.5},
        "flat": {"lr": 0.2, "flip": 0.5},
    }
    final: int = 4
    search: Annotated[Search, FlatNames(**{"view.scale": "crop_scale"})] = Search(
        lr=0.005, young=7, view=View(flip=0.1)
    )
    pool: Annotated[Pool, FlatNames(size="pool")] = field(default_factory=lambda: Pool(size=20, kind="b"))
    extra: Pool = Pool(size=1)
    inference: Serving = Serving()
    more: Annotated[Serving, OmitIfDefault()] = Serving(compute="fp16")


PLAIN = {
    "final": 4, "lr": 0.005, "steps": 10, "start": "none", "crop_scale": [0.5, 1.0], "flip": 0.1,
    "pool": 20, "kind": "b", "extra.size": 1, "extra.kind": "a",
}  # fmt: skip
"""The canonical form of the defaults: flat where names are declared, without the young, which have their defaults."""


def build(**settings):
    return params.build(Host, settings, owner="attack 'host'")


def refusal(**settings):
    with pytest.raises(UsageError) as caught:
        build(**settings)
    return str(caught.value)


def test_the_canonical_form_is_flat_where_names_are_declared():
    assert params.canonical(build()) == PLAIN
    assert list(params.canonical(build())) == list(PLAIN)


@pytest.mark.parametrize(
    "settings",
    [
        {"search": {"lr": 0.1, "view": {"flip": 0.3}}},
        {"search.lr": 0.1, "search.view.flip": 0.3},
        {"search": {"lr": 0.1, "view.flip": 0.3}},
        {"search": {"lr": "0.1"}, "search.view": {"flip": "0.3"}},
        {"lr": 0.1, "flip": 0.3},
        {"lr": 0.1, "search": {"view": {"flip": 0.3}}},
    ],
)
def test_nested_dotted_and_flat_names_mean_the_same(settings):
    expected = replace(Host(), search=Search(lr=0.1, young=7, view=View(flip=0.3)))
    assert build(**settings) == expected
    assert params.canonical(build(**settings)) == PLAIN | {"lr": 0.1, "flip": 0.3}


def test_what_is_not_given_keeps_the_components_default_not_that_of_the_groups_class():
    made = build(**{"search.steps": 5})
    assert made.search == Search(lr=0.005, steps=5, young=7, view=View(flip=0.1))
    assert build(pool=3).pool == Pool(size=3, kind="b")
    assert build(search={}) == Host()


def test_a_flat_name_may_be_that_of_its_group():
    assert build(pool=5) == build(pool={"size": 5}) == build(**{"pool.size": 5})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"lr": 0.1, "search.lr": 0.1}, ["'lr'", "'search.lr'"]),
        ({"lr": 0.1, "search": {"lr": 0.1}}, ["'lr'", "'search.lr'"]),
        ({"search": {"lr": 0.1}, "search.lr": 0.2}, ["'search.lr'"]),
        ({"pool.size": 3, "pool": 3}, ["'pool.size'", "'pool'"]),
        ({"crop_scale": [0, 1], "search.view.scale": [0, 1]}, ["'crop_scale'", "'search.view.scale'"]),
    ],
)
def test_one_parameter_under_two_names_is_refused(settings, names):
    text = refusal(**settings)
    assert text.startswith("attack 'host': ")
    assert "two names of one parameter" in text
    assert all(name in text for name in names)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"search.lrr": 1}, ["attack 'host' has no parameter 'search.lrr'. Did you mean 'search.lr'?", "view.flip"]),
        ({"search": {"lrr": 1}}, ["no parameter 'search.lrr'. Did you mean 'search.lr'?"]),
        ({"search": {"view": {"flipp": 1}}}, ["no parameter 'search.view.flipp'. Did you mean 'search.view.flip'?"]),
        ({"serch.lr": 1}, ["no parameter 'serch.lr'. Did you mean 'search.lr'?"]),
        ({"extra.siz": 1}, ["Did you mean 'extra.size'?"]),
        ({"search": 3}, ["search = 3 is not valid", "group of parameters", "search.lr="]),
        ({"search.lr": 0}, ["attack 'host': search.lr = 0 is not valid; expected float > 0"]),
        ({"search": {"lr": 0}}, ["search.lr = 0 is not valid; expected float > 0"]),
        ({"lr": 0}, ["attack 'host': lr = 0 is not valid; expected float > 0"]),
        ({"lr": True}, ["lr = True is not valid", "boolean is no number"]),
        ({"search": {"view": {"scale": [0, "x"]}}}, ["search.view.scale.1 = 'x' is", "expected tuple[float, float]"]),
        ({"crop_scale": [0, "x"]}, ["crop_scale.1 = 'x' is not valid"]),
        ({"search.steps": "1.5"}, ["search.steps = '1.5'", "int >= 0"]),
        ({"search.lr": float("nan")}, ["search.lr = nan", "finite"]),
        ({"kind": "c"}, ["kind = 'c'", "'a' | 'b'"]),
        ({"lr": -1, "extra.size": "x"}, ["lr = -1", "extra.size = 'x'"]),
        ({"lr": 11}, ["attack 'host': search: ", "lr must not be above steps"]),
    ],
)  # fmt: skip
def test_errors_name_what_was_written(settings, parts):
    text = refusal(**settings)
    for part in parts:
        assert part in text


def test_a_group_without_a_default_asks_for_what_it_needs():
    @dataclass(frozen=True, kw_only=True)
    class Bare:
        pool: Pool

    with pytest.raises(UsageError, match=r"Bare: pool\.size = .* is not valid; expected int"):
        params.build(Bare, {})
    assert params.build(Bare, {"pool.size": 2}) == Bare(pool=Pool(size=2))
    rows = {row.name: row.default for row in params.describe(Bare)}
    assert rows == {"pool.size": "(required)", "pool.kind": "a"}


def test_the_young_are_kept_once_they_differ_from_the_components_default():
    assert params.canonical(build(young=3))["young"] == 3  # the default of the group's class is not the component's
    assert "young" not in params.canonical(build(**{"search.young": 7}))
    assert params.canonical(build(**{"more.compute": "fp32"}))["more.compute"] == "fp32"


def test_a_group_called_inference_acts_in_inference_only():
    assert params.inference_only_names(Host) == ["inference.compute"]
    assert "inference.compute" not in PLAIN

    @dataclass(frozen=True, kw_only=True)
    class Marked:
        serving: Annotated[Serving, InferenceOnly(), FlatNames()] = Serving()

    assert params.inference_only_names(Marked) == ["compute"]
    assert params.canonical(Marked(serving=Serving(compute="tf32"))) == {"compute": "tf32"}


def test_files_are_found_in_groups():
    assert params.file_parameters(Host) == {"start": ("", "none")}


def test_describe_lists_leaves_with_both_names_and_the_components_defaults():
    rows = {row.name: row for row in params.describe(Host)}
    assert rows["search.lr"] == ("search.lr", "float", 0.005, "> 0", "learning rate.", "lr")
    assert rows["search.view.scale"].key == "crop_scale"
    assert rows["search.view.flip"].default == 0.1
    assert rows["extra.size"] == ("extra.size", "int", 1, "", "how many.", "extra.size")
    assert params.docs_of_groups(Host) == {
        "search": "how it descends.", "search.view": "of what is descended.", "pool": "Where it starts.",
        "extra": "Where it starts.", "inference": "How it is used.", "more": "How it is used.",
    }  # fmt: skip


def test_presets_nest_or_do_not():
    made = {params.build(Host, values) for values in params.presets_of(Host).values()}
    assert len(made) == 1
    assert made.pop().search == Search(lr=0.2, young=7, view=View(flip=0.5))


def test_a_copy_with_other_values_keeps_the_rest():
    made = params.replaced(build(young=8, pool=3), {"search": {"lr": 0.1}, "flip": 0.4})
    assert made == build(young=8, pool=3, lr=0.1, flip=0.4)
    assert params.replaced(made, {}) == made
    with pytest.raises(UsageError, match=r"attack 'host': lr = 0 is not valid"):
        params.replaced(made, {"search.lr": 0}, owner="attack 'host'")


def test_values_are_those_of_the_instance_by_their_names_in_keys():
    found = params.values_of(build(lr=0.1))
    assert list(found) == [row.key for row in params.describe(Host)]
    assert (found["lr"], found["young"], found["crop_scale"], found["extra.size"]) == (0.1, 7, (0.5, 1.0), 1)


def test_a_group_that_refuses_its_values_is_named_with_the_component():
    @dataclass(frozen=True)
    class Strict:
        low: int = 0

        def __post_init__(self):
            if self.low < 0:
                raise UsageError("low: expected no negative number")

    @dataclass(frozen=True)
    class Around:
        group: Strict = Strict()

    with pytest.raises(UsageError) as caught:
        params.build(Around, {"group.low": -1}, owner="attack 'x'")
    assert str(caught.value) == "attack 'x': low: expected no negative number"


def test_optional_parameters_are_written_as_people_write_them():
    @dataclass(frozen=True)
    class Some:
        """Some.

        Attributes:
            a: first.
        """

        a: Annotated[float, Ge(0)] | None = None
        b: Annotated[int | None, Ge(1)] = None
        c: tuple[Annotated[float, Ge(0), Lt(1)], ...] = ()
        d: Literal["x"] | None = None
        e: dict[str, tuple[int, ...]] = field(default_factory=dict)

    rows = {row.name: (row.type, row.range) for row in params.describe(Some)}
    assert rows == {
        "a": ("float | None", ">= 0"),
        "b": ("int | None", ">= 1"),
        "c": ("tuple[float, ...]", "each >= 0, < 1"),
        "d": ("'x' | None", ""),
        "e": ("dict[str, tuple[int, ...]]", ""),
    }
    with pytest.raises(UsageError, match=r"a = -1 is not valid; expected float \| None >= 0 "):
        params.build(Some, {"a": -1})


@dataclass(frozen=True)
class _Twice:
    first: Annotated[Serving, FlatNames()] = Serving()
    second: Annotated[Serving, FlatNames()] = Serving()


@dataclass(frozen=True)
class _Wrong:
    first: Annotated[Serving, FlatNames(computes="c")] = Serving()


@dataclass(frozen=True)
class _Inner:
    serving: Annotated[Serving, FlatNames()] = Serving()


@dataclass(frozen=True)
class _Deep:
    inner: _Inner = _Inner()


@dataclass(frozen=True)
class _Clash:
    compute: int = 0
    serving: Annotated[Serving, FlatNames()] = Serving()


@pytest.mark.parametrize(
    ("component", "part"),
    [
        (_Twice, "first.compute and second.compute are both called 'compute'"),
        (_Clash, "compute and serving.compute are both called 'compute'"),
        (_Wrong, "FlatNames names computes, which Serving has not"),
        (_Deep, "only a component names flat"),
    ],
)
def test_names_that_cannot_be_are_the_plugins_fault(component, part):
    with pytest.raises(PluginError, match=part):
        params.build(component, {})


VALUES = {
    "search.lr": st.floats(0.001, 5.0),
    "search.steps": st.integers(6, 50),
    "search.young": st.integers(0, 9),
    "search.view.scale": st.tuples(st.floats(0, 1), st.floats(0, 1)),
    "search.view.flip": st.floats(0, 1),
    "pool.size": st.integers(-5, 5),
    "pool.kind": st.sampled_from(["a", "b"]),
    "extra.size": st.integers(),
    "final": st.integers(0, 9),
    "inference.compute": st.text("abc"),
    "more.compute": st.text("abc"),
}
FLAT = {row.name: row.key for row in params.describe(Host)}


def nest(values):
    nested = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return nested


@given(st.fixed_dictionaries({}, optional=VALUES | {"extra.size": st.integers(-9, 9)}))
def test_every_way_to_write_settings_builds_the_same_and_the_canonical_form_builds_it_again(settings):
    made = params.build(Host, settings)
    assert params.build(Host, nest(settings)) == made
    assert params.build(Host, {FLAT[name]: value for name, value in settings.items()}) == made
    plain = params.canonical(made)
    assert params.build(Host, plain) == made
    names = params.names_of(Host)
    assert names.flatten(nest(settings), "x") == {FLAT[name]: value for name, value in settings.items()}
    assert set(plain) <= set(FLAT.values())
    for name, value in settings.items():
        key = FLAT[name]
        if key in plain:
            assert plain[key] == (list(value) if isinstance(value, tuple) else value)


@given(st.fixed_dictionaries({}, optional=VALUES | {"extra.size": st.integers(-9, 9)}))
def test_flattening_twice_changes_nothing(settings):
    names = params.names_of(Host)
    once = names.flatten(nest(settings), "x")
    assert names.flatten(once, "x") == once
