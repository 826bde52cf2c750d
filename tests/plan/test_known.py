"""What a plan knows to fail is refused while planning; what is spelled in two ways counts once."""

import dataclasses
import os
from pathlib import Path

import fake_plugin.parts as parts
import pytest
from fake_plugin import PROTOCOL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_factory import make_node

from mibench.api import UsageError
from mibench.cli.request import parse_settings
from mibench.plan.cells import expand
from mibench.plan.facts import Facts
from mibench.plan.known import check_node
from mibench.protocol.request import Request
from mibench.registry.registry import load_registry
from mibench.session.run import plan_request

BASE = {"protocols": ("toy",), "attacks": ("guess",), "defenses": ("noisy",)}


def labels(registry, **fields):
    return [cell.label for cell in expand(Request(**{**BASE, **fields}), registry)]


def written(folder: Path, old: str, new: str, name: str = "changed.yaml") -> str:
    text = PROTOCOL.read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    return str(folder / name)


@pytest.mark.parametrize(
    "fields",
    [
        {"protocols": ("toy", "toy@1.0")},
        {"protocols": ("toy", str(PROTOCOL), f"{PROTOCOL.parent}/./toy.yaml")},
        {"defenses": ("noisy", "noisy/toy")},  # the preset named like the protocol is what the name means
        {"defenses": ("plain", "noisy", "noisy")},
        {"attacks": ("guess", "guess/same")},  # the preset that the protocol means, written out
        {"models": ("tiny", "tiny/narrow")},
        {"seeds": (3, 3)},
    ],
)
def test_one_thing_spelled_in_two_ways_is_one(fields, toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Guess, "presets", {**parts.Guess.presets, "same": {"steps": 3, "images": 2}})
    monkeypatch.setattr(parts.Tiny, "presets", {"narrow": {"width": 3}})
    assert labels(toy_registry, **fields) == labels(toy_registry)


def test_two_protocols_of_one_name_are_refused(toy_registry, tmp_path):
    other = written(tmp_path, "epochs: 5", "epochs: 6")
    with pytest.raises(UsageError, match=r"toy@1.0 and .*changed.yaml differ and are both called toy@1.0"):
        labels(toy_registry, protocols=("toy", other))


def test_the_control_under_other_parameters_is_a_defense_of_its_own(toy_registry, tmp_path):
    weak = written(tmp_path, "undefended: {name: plain}", "undefended: {name: noisy, params: {lam: 0.0}}")
    found = expand(Request(**{**BASE, "protocols": (weak,), "defenses": ("noisy/strong",)}), toy_registry)
    assert [cell.defense.params["lam"] for cell in found] == [0.0, 0.5]


def test_a_slash_wants_a_preset(toy_registry):
    with pytest.raises(UsageError, match="'guess/': expected NAME or NAME/PRESET"):
        labels(toy_registry, attacks=("guess/",))


@pytest.mark.parametrize("order", [1, -1])
def test_a_setting_by_name_beats_one_by_kind(order, toy_registry):
    told = dict([("defense.lam", 0.5), ("noisy.lam", 0.75)][::order])
    found = expand(Request(**BASE, settings=told), toy_registry)
    assert found[-1].defense.params == {"lam": 0.75}


def test_the_validation_variant_needs_validation_images(toy_registry, tmp_path):
    none = written(tmp_path, "val: 1", "val: 0")
    assert labels(toy_registry, protocols=(none,))
    with pytest.raises(UsageError, match=r"split\.val is 0"):
        labels(toy_registry, protocols=(none,), variant="validation")


def test_too_few_images_are_known_where_the_dataset_knows(toy_registry, tmp_path, monkeypatch):
    assert labels(toy_registry)  # the toy dataset does not say
    monkeypatch.setattr(parts.Blobs, "num_images", lambda self, identity: 8)
    assert labels(toy_registry)
    with pytest.raises(
        UsageError,
        match="an identity of blobs has 8 images; the protocol wants 4 to train, 1 to validate and 4 to test",
    ):
        labels(toy_registry, protocols=(written(tmp_path, "test: 2", "test: 4"),))


def test_a_source_of_public_images_has_enough_people(toy_registry, tmp_path):
    old = "prior: {name: linear, params: {steps: 12}}"
    new = "prior: {name: linear, params: {steps: 12}, source: {dataset: {name: other-blobs}, identities: 13}}"
    with pytest.raises(UsageError, match=r"prior\.source wants 13 identities; the dataset has 12"):
        labels(toy_registry, protocols=(written(tmp_path, old, new),))


@pytest.mark.parametrize("component", [parts.Blobs, parts.Tiny, parts.Coarse, parts.Linear])
def test_files_that_are_missing_are_told_before_anything_runs(component, toy_registry, tmp_path, monkeypatch):
    request = Request(**BASE, store=tmp_path / "store")
    lacking = ["the weights; run: fetch them"]
    monkeypatch.setattr(component, "missing", lambda self: lacking)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"^the weights; run: fetch them$"):
            plan_request(request, toy_registry)
    lacking.clear()
    assert plan_request(request, toy_registry).to_run


@pytest.mark.parametrize("path", ["~no-such-user/w.pth", "a\0b", "pipe", "/dev/zero", "nowhere.pth"])
def test_a_path_that_names_no_file_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    request = Request(protocols=("smoke",), models=("resnet18",), settings={"model.weights": path})
    with pytest.raises(UsageError, match=r"weights file .* does not exist"):
        expand(request, load_registry())


def test_a_defense_refuses_a_recipe_before_anything_runs(toy_registry, tmp_path, monkeypatch):
    told = []

    def check(self, *, num_images, batch, epochs):
        told.append((num_images, batch, epochs))
        raise UsageError("cannot train so")

    monkeypatch.setattr(parts.Noisy, "check_recipe", check)
    with pytest.raises(UsageError, match="cannot train so"):
        plan_request(Request(**BASE, store=tmp_path / "store"), toy_registry)
    assert told == [(3 * 4, 5, 5)]  # people times training images, batch and epochs of toy.yaml


def test_a_control_is_refused_its_recipe_too(toy_registry, tmp_path, monkeypatch):
    def check(self, *, num_images, batch, epochs):
        raise UsageError("plain training cannot do that")

    monkeypatch.setattr(parts.Plain, "check_recipe", check)
    with pytest.raises(UsageError, match="plain training cannot do that"):
        plan_request(Request(**BASE, store=tmp_path / "store"), toy_registry)


def test_all_that_is_missing_of_a_node_is_told_at_once(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Tiny, "missing", lambda self: ["get a;", "get b."])
    assert check_node(make_node("target"), Facts(toy_registry)) == ["get a;", "get b."]
    assert check_node(make_node("data"), Facts(toy_registry)) == []  # of another component


def test_only_what_reads_files_is_asked_for_them(toy_registry, monkeypatch):
    """What a defense or an attack calls missing is no list of files."""
    for component in (parts.Noisy, parts.Guess, parts.Hits):
        monkeypatch.setattr(component, "missing", lambda self: pytest.fail("it was asked"), raising=False)
    for stage in ("target", "reconstruct", "measure", "gold"):
        check_node(make_node(stage), Facts(toy_registry))


@pytest.mark.parametrize(
    ("images", "test", "fails"),
    [(7, 2, False), (6, 2, True), (7, 3, True), (None, 300, False)],  # 4 train and 1 validates
)
def test_an_identity_needs_as_many_images_as_the_split_takes(toy_registry, tmp_path, monkeypatch, images, test, fails):
    monkeypatch.setattr(parts.Blobs, "num_images", lambda self, identity: images)
    asked = {"protocols": (written(tmp_path, "test: 2", f"test: {test}"),)}
    if fails:
        with pytest.raises(UsageError, match=f"has {images} images; .* 4 to train, 1 to validate and {test} to test"):
            labels(toy_registry, **asked)
    else:
        assert labels(toy_registry, **asked)


def test_only_private_people_need_all_images(toy_registry, monkeypatch):
    private = set(expand(Request(**BASE), toy_registry)[0].graph.fixed.identities.private)
    monkeypatch.setattr(parts.Blobs, "num_images", lambda self, identity: 7 if identity in private else 0)
    assert labels(toy_registry)


@pytest.mark.parametrize("wanted", [1, 12])
def test_a_source_may_give_all_its_people(toy_registry, tmp_path, wanted):
    old = "params: {steps: 12}}"
    new = f"params: {{steps: 12}}, source: {{dataset: {{name: other-blobs}}, identities: {wanted}}}}}"
    (cell,) = expand(
        Request(protocols=(written(tmp_path, old, new),), attacks=("guess",), defenses=("plain",)), toy_registry
    )
    assert cell.graph.nodes[cell.prior_node.needs["public"]].payload["identities"] == list(range(wanted))


@pytest.mark.parametrize("device", ["cuda:99", "cuda:999999999999999999999"])
def test_a_gpu_that_is_not_there_is_refused_when_planning(device, toy_registry, tmp_path):
    with pytest.raises(UsageError, match="torch sees"):
        plan_request(Request(**BASE, store=tmp_path / "store", device=device), toy_registry)


KNOBS = [f"{kind}.{field.name}" for kind, component in [("attack", parts.Guess), ("defense", parts.Noisy),
         ("model", parts.Tiny)] for field in dataclasses.fields(component)]  # fmt: skip
TEXTS = (
    st.text(max_size=20)
    | st.floats().map(repr)
    | st.integers().map(str)
    | st.sampled_from(["inf", "1e999", "1e308", "yes", "true", "010", "null", "[]", "9" * 30, "1" * 5000, "[" * 3000])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KNOBS), value=TEXTS)
def test_any_setting_makes_a_plan_or_a_sentence(key, value, toy_registry):
    try:
        found = expand(Request(**BASE, settings=parse_settings([f"{key}={value}"])), toy_registry)
    except UsageError:
        return
    assert found
