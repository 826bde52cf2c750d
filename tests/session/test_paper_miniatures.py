"""The protocols at paper scale in miniature: copies in the official format, a network pickle of the official structure.

Six classes of eight pictures and networks that learn nothing in a second: every stage runs, no number means anything.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

HELPERS = [
    str(Path(__file__).parents[2] / f"plugins/{plugin}/tests") for plugin in ("mibench-models", "mibench-datasets")
]
sys.path[:0] = HELPERS  # writers of network pickles and of copies

from mibench_datasets.celeba import CelebA  # noqa: E402
from mibench_datasets.facescrub import FaceScrub  # noqa: E402
from mibench_datasets.stanford_dogs import StanfordDogs  # noqa: E402
from mibench_models.priors.stylegan2_file.importer import StyleGanImporter  # noqa: E402
from network_pickles import random_networks, write_network_pickle  # noqa: E402
from official_copies import celeba, dogs, facescrub  # noqa: E402

from mibench.api import ImageSet, copy_file  # noqa: E402
from mibench.assemble.recheck import Recheck, Verdict  # noqa: E402
from mibench.plan.facts import Facts  # noqa: E402
from mibench.protocol.load import load_protocol, protocol_path  # noqa: E402
from mibench.protocol.request import Request  # noqa: E402
from mibench.registry.registry import load_registry  # noqa: E402
from mibench.session.run import plan_request, run  # noqa: E402

PARTS = {
    "facescrub224": ("facescrub", facescrub, FaceScrub(), {"people": "present"}),
    "celeba224": ("celeba", celeba, CelebA(people=6, official=False), {"people": 6, "official": False}),
    "dogs224": ("stanford-dogs", dogs, StanfordDogs(), {"breeds": "present"}),
}
TINY = {"name": "smallcnn", "params": {"widths": [4, 8], "features": 8}}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("MIBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def prepare(name, tmp_path):
    dataset, writer, component, _ = PARTS[name]
    copy = component.prepare(writer(tmp_path / "copy"), tmp_path / "work")
    copy.write(copy_file(dataset).parent)
    return copy


def miniature(name, tmp_path):
    """Return the protocol with everything that takes time made small."""
    registry = load_registry()
    raw = yaml.safe_load(protocol_path(registry.get("protocol", name).spec).read_text())
    _, _, _, params = PARTS[name]
    net, judge = random_networks()
    folder = tmp_path / "prior"
    StyleGanImporter().run(write_network_pickle(tmp_path / "tiny.pkl", net, judge), folder)
    people = 4 if name == "dogs224" else 6
    recipe = {"epochs": 1, "batch": 8, "drop_last": True, "checkpoint": "best_val_loss"}
    raw["name"] = "miniature"
    raw["dataset"]["params"] = params
    raw["image"] = {"size": 24, "channels": 3, "deliver": 32}
    raw["split"] |= {"private": people, "train": 2, "val": 1, "test": 1}
    raw |= {"model": TINY, "recipe": recipe, "presets": {}, "expected_seconds": {}, "seeds": [0]}
    raw["prior"]["params"] = {"folder": str(folder)}
    raw["evaluators"] = [{"name": "inception", "model": TINY, "recipe": {"epochs": 1, "batch": 8}, "seed": 1000}]
    small = {"preset": "small", "params": {"pool": 8, "candidates": 2, "steps": 2, "final": 2, "draws": 2}}
    raw["attacks"] = {"ppa": {"name": "ppa", **small}}
    raw["suite"] = ["ppa"]
    raw["floor"] = {"name": "prior-topconf", "params": {"pool": 8, "final": 2}}
    raw["metrics"] = [{"name": "accuracy"}, {"name": "attack-accuracy"}, {"name": "target-confidence"}]
    if raw.get("attack_classes"):
        raw["attack_classes"]["number"] = 4
    path = tmp_path / "miniature.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def with_enough(name, copy, tmp_path):
    """Say of each class's eight pictures what they are for: so few do not all fall into every part by themselves."""
    lines = []
    for images in copy.classes.values():
        lines += [f"{'test' if k == 0 else 'val' if k == 1 else 'train'} {one.sha256}" for k, one in enumerate(images)]
    (tmp_path / "split.txt").write_text("\n".join(lines))
    dataset, _, component, _ = PARTS[name]
    again = component.prepare(tmp_path / "copy", tmp_path / "work", split=tmp_path / "split.txt")
    again.write(copy_file(dataset).parent)
    return again


@pytest.mark.parametrize("name", PARTS)
def test_a_miniature_runs_from_files_to_a_record(name, tmp_path, monkeypatch):
    whole = "all images of a set were made at once"
    monkeypatch.setattr(ImageSet, "all_images", lambda self: pytest.fail(whole))
    copy = with_enough(name, prepare(name, tmp_path), tmp_path)
    request = Request(
        protocols=(miniature(name, tmp_path),),
        defenses=("atat",),
        attacks=("ppa",),
        seeds=(0,),
        store=tmp_path / "store",
        output=tmp_path / "out",
        device="cpu",
        executor="inline",
    )
    result = run(request)
    assert result.failures == []
    records = {record.cell.defense: record for record in result.records}
    assert set(records) == {"none", "atat"}
    record = records["atat"]
    assert record.components["dataset"].params["copy"] == f"sha256:{copy.digest}"
    accuracy = record.metrics["attack_acc@1/inception"]
    assert accuracy.n == 4 * 2
    pixels = sorted(path.stat().st_size for path in (tmp_path / "store").glob("artifacts/data/*/pixels.safetensors"))
    assert len(pixels) == 3  # 24 and 32 pixels, and those of no public people
    people = [identity for identity, images in enumerate(copy.classes.values()) if images]
    assert pixels[-1] > len(people) * 7 * 3 * 32 * 32
    assert result.report
    assert result.report.is_file()


def test_a_miniature_needs_its_copy(tmp_path):
    prepare("facescrub224", tmp_path)
    path = miniature("facescrub224", tmp_path)
    request = Request(protocols=(path,), defenses=("none",), attacks=("ppa",), store=tmp_path / "store")
    keys = [node.key for node in plan_request(request).nodes]
    raw = yaml.safe_load(Path(path).read_text())
    raw["dataset"]["params"]["copy"] = "sha256:" + "0" * 64
    Path(path).write_text(yaml.safe_dump(raw))
    assert "the one in" in " ".join(plan_request(request, lenient=True).missing)
    here = json.loads((copy_file("facescrub").parent / "where.json").read_text())["copy"]
    raw["dataset"]["params"]["copy"] = f"sha256:{here}"
    Path(path).write_text(yaml.safe_dump(raw))
    assert [node.key for node in plan_request(request).nodes] == keys


def test_whom_a_copy_lacks_is_among_what_is_missing(tmp_path):
    prepare("facescrub224", tmp_path)
    request = Request(protocols=("facescrub224",), defenses=("none",), attacks=("ppa",), store=tmp_path / "store")
    assert "pictures of 524 of 530 people" in "\n".join(plan_request(request, lenient=True).missing)


@pytest.mark.parametrize("name", PARTS)
def test_a_dry_run_lists_all_that_is_missing(name, tmp_path):
    request = Request(protocols=(name,), defenses=("atat",), attacks=("ppa",), store=tmp_path / "store")
    plan = plan_request(request, lenient=True)
    told = "\n".join(plan.missing)
    for words in (f"mibench data prepare {PARTS[name][0]} --from", "import-stylegan", "resnet152-", "inception_v3"):
        assert words in told
    faces = name != "dogs224"
    assert ("import-facenet" in told) is faces
    assert len(plan.missing) == 4 + faces
    assert all(node.estimate_s for node in plan.nodes)


def test_the_alternative_architectures_have_weights_of_their_own(tmp_path):
    request = Request(
        protocols=("facescrub224",),
        defenses=("none",),
        attacks=("ppa",),
        models=("resnet18", "densenet169"),
        store=tmp_path / "store",
    )
    told = "\n".join(plan_request(request, lenient=True).missing)
    assert "resnet18-f37072fd" in told
    assert "densenet169-b2777c0a" in told


@pytest.mark.parametrize("name", PARTS)
def test_presets_of_the_papers_defenses_exist(name, tmp_path):
    defenses = ("at", "mid", "negls", "tl-dmi", "trap-mid", "rolss", "bido", "unseen-pixels", "random-labels")
    request = Request(protocols=(name,), defenses=defenses, attacks=("ppa",), store=tmp_path / "store")
    plan = plan_request(request, lenient=True)
    params = {cell.defense.name: cell.defense.params for cell in plan.cells}
    assert params["mid"]["beta"] == 0.03
    assert params["tl-dmi"]["start"] == "model"
    assert params["rolss"]["stage3_tail"] is True
    assert params["trap-mid"]["step"] == 0.005
    torch.testing.assert_close(params["at"]["eps"], 5e-3)


def test_what_needs_public_people_is_refused(tmp_path):
    from mibench.api import UsageError

    attack = ("public-nearest",)
    request = Request(protocols=("facescrub224",), defenses=("none",), attacks=attack, store=tmp_path / "store")
    with pytest.raises(UsageError, match=r"facescrub224@1\.0 has no public people"):
        plan_request(request, lenient=True)


def test_another_copy_has_other_keys(tmp_path):
    facts = Facts(load_registry())
    assert facts.settle("dataset", "facescrub", {}).params["copy"] == ""
    copy = prepare("facescrub224", tmp_path)
    assert facts.settle("dataset", "facescrub", {}).params["copy"] == f"sha256:{copy.digest}"


def test_a_board_believes_what_was_made_with_a_copy_that_it_lacks(tmp_path, monkeypatch):
    with_enough("celeba224", prepare("celeba224", tmp_path), tmp_path)
    path = miniature("celeba224", tmp_path)
    places = {"store": tmp_path / "store", "output": tmp_path / "out"}
    request = Request(protocols=(path,), defenses=("none",), attacks=("ppa",), seeds=(0,), device="cpu", **places)
    (record,) = run(request).records
    loaded = load_protocol(load_registry(), path)
    assert Recheck(load_registry()).verdict(record, loaded) == Verdict([], [])
    monkeypatch.setenv("MIBENCH_DATA", str(tmp_path / "no data"))
    verdict = Recheck(load_registry()).verdict(record, loaded)
    assert verdict.findings == []
    assert "dataset" in verdict.reported
