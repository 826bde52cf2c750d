"""A protocol whose judges see more pixels than the target: who is handed which side, and what stays as it was."""

import fake_plugin
import pytest
import torch
from fake_plugin import PROTOCOL, parts

import mibench.execute.plugin
from mibench.api import UsageError, resize, to_uint8
from mibench.plan.cells import expand
from mibench.protocol.load import parse_protocol
from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.stages.at_size import at_size
from mibench.stages.files import load_tensors
from mibench.store.store import Store
from mibench.testing.tiny_world import TinyWorld

IMAGE = "image: {size: 16, channels: 1}"
SMALL, LARGE = {"size": 16, "channels": 1}, {"size": 24, "channels": 1}


@pytest.fixture()
def larger(tmp_path):
    path = tmp_path / "larger.yaml"
    path.write_text(PROTOCOL.read_text().replace(IMAGE, "image: {size: 16, channels: 1, deliver: 24}"))
    return (str(path),)


def cell_of(registry, protocols):
    return expand(Request(protocols=protocols, defenses=("noisy",), attacks=("guess",)), registry)[-1]


def test_only_judges_and_what_they_look_at_have_other_keys(toy_registry, larger):
    one, other = cell_of(toy_registry, ("toy",)), cell_of(toy_registry, larger)
    for same in ("target", "prior_node"):
        assert getattr(one, same).key == getattr(other, same).key
    assert one.measures["hits"].key == other.measures["hits"].key
    assert other.reconstructions.payload["image"] == {**SMALL, "deliver": 24}
    assert one.reconstructions.payload["image"] == SMALL
    nodes = other.graph.nodes
    for judge in other.graph.evaluators().values():
        assert judge.payload["image"] == nodes[judge.needs["private"]].payload["image"] == LARGE
    assert nodes[other.graph.gold().needs["private"]].payload["image"] == LARGE
    for name, measure in other.measures.items():
        on_target = name == "hits"
        assert nodes[measure.needs["private"]].payload["image"] == (SMALL if on_target else LARGE)
        assert measure.payload.get("image") == (None if on_target else SMALL)
        assert "image" not in one.measures[name].payload


def test_judges_see_the_larger_side_in_8_bits_and_the_target_its_own(toy_run, larger, tmp_path, monkeypatch):
    sides, measure = [], parts.Match.measure

    def watched(metric, evidence, ctx):
        sides.append(
            [evidence.images_NCHW, evidence.gallery.images(torch.arange(1)), evidence.heldout.images(torch.arange(1))]
        )
        return measure(metric, evidence, ctx)

    monkeypatch.setattr(parts.Match, "measure", watched)
    parts.SEEN.clear()
    result = toy_run(protocols=larger)
    assert result.exit_code == 0
    assert {images.shape[-1] for evidence in sides for images in evidence} == {24}
    assert {context.size for *_, context in parts.SEEN if context} == {16}
    assert parts.SEEN[-1][2].deliver == 24
    store, cell = Store(tmp_path / "store"), result.planned.cells[0]
    made = load_tensors(store.get("reconstruct", cell.reconstructions.key).file("evidence.safetensors"))
    assert (made["pixels"].dtype, made["pixels"].shape) == (torch.uint8, (6, 1, 24, 24))
    assert any(torch.equal(made["pixels"].float() / 255, evidence[0]) for evidence in sides)


def test_what_an_attack_delivers_at_the_targets_side_is_enlarged_as_a_judge_would(
    toy_run, larger, tmp_path, monkeypatch
):
    made, honest = {}, parts.Guess.reconstruct

    def kept(attack, label, *rest):
        result = honest(attack, label, *rest)
        made[label] = result.images_NCHW
        return result

    monkeypatch.setattr(parts.Guess, "reconstruct", kept)
    result = toy_run(protocols=larger)
    found = Store(tmp_path / "store").get("reconstruct", result.planned.cells[0].reconstructions.key)
    pixels = load_tensors(found.file("evidence.safetensors"))["pixels"]
    assert torch.equal(pixels, to_uint8(resize(torch.cat([made[label] for label in sorted(made)]), 24)))


@pytest.mark.parametrize(("side", "fits"), [(24, True), (16, True), (20, False)])
def test_an_attack_delivers_at_one_of_the_two_sides(toy_run, larger, tmp_path, monkeypatch, side, fits):
    exact = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(1))
    honest = parts.Guess.reconstruct

    def other(attack, *rest):
        result = honest(attack, *rest)
        result.images_NCHW = exact
        return result

    monkeypatch.setattr(parts.Guess, "reconstruct", other)
    result = toy_run(protocols=larger)
    if not fits:
        assert "expected at least one image of shape (1, 16, 16) or (1, 24, 24), got (2, 1, 20, 20)" in str(
            result.failures
        )
        return
    found = Store(tmp_path / "store").get("reconstruct", result.planned.cells[0].reconstructions.key)
    pixels = load_tensors(found.file("evidence.safetensors"))["pixels"]
    assert torch.equal(pixels[:2], to_uint8(exact if side == 24 else resize(exact, 24)))


def test_the_targets_confidence_is_that_in_the_images_at_its_own_side(toy_run, larger, tmp_path, monkeypatch):
    metrics = pytest.importorskip("mibench_metrics")
    path = tmp_path / "confident.yaml"
    text = (tmp_path / "larger.yaml").read_text()
    path.write_text(text.replace("[{name: hits}", "[{name: target-confidence}, {name: hits}"))
    registry = Registry.from_modules(fake_plugin, mibench.execute.plugin, metrics)
    parts.SEEN.clear()
    result = toy_run(registry=registry, protocols=(str(path),))
    assert result.exit_code == 0
    cell = result.planned.cells[0]
    found = Store(tmp_path / "store").get("reconstruct", cell.reconstructions.key)
    tensors = load_tensors(found.file("evidence.safetensors"))
    network = parts.SEEN[-1][0].module()
    logits = network(resize(tensors["pixels"].float() / 255, 16)).double()
    own = logits.softmax(1).gather(1, tensors["labels"][:, None]).mean().item()
    assert result.records[0].metrics["target_conf"].value == pytest.approx(own, rel=1e-6)


def test_a_classifier_at_another_size_is_the_classifier_after_a_resize():
    world = TinyWorld()
    inner = world.trained()
    outer = at_size(inner, 16)
    x_BCHW = torch.rand(3, world.channels, 24, 24, generator=torch.Generator().manual_seed(0))
    small = resize(x_BCHW, 16)
    assert torch.equal(outer(x_BCHW), inner(small))
    assert torch.equal(outer.features(x_BCHW), inner.features(small))
    assert torch.equal(outer.outputs(x_BCHW).logits, inner(small))
    assert outer.stages(x_BCHW).keys() == inner.stages(small).keys()
    assert (outer.num_classes, outer.training) == (inner.num_classes, False)
    with pytest.raises(AttributeError):
        outer.nothing  # noqa: B018


@pytest.mark.parametrize("deliver", [16, 12])
def test_a_side_that_is_not_larger_is_refused(deliver):
    with pytest.raises(UsageError, match="must be larger than size 16"):
        parse_protocol(PROTOCOL.read_text().replace(IMAGE, f"image: {{size: 16, channels: 1, deliver: {deliver}}}"))


def test_an_unset_side_leaves_no_trace():
    assert parse_protocol(PROTOCOL.read_text()).protocol.image.model_dump(mode="json") == SMALL
