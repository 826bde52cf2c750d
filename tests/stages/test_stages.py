"""Stages through whole runs of the fake plugin: what an attack may see, damage, divergence and failure."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch
from fake_plugin import HERE, PROTOCOL, parts

from mibench.api import AttackContext, MibenchError, seeded
from mibench.protocol.request import Request
from mibench.registry.build import Components
from mibench.session.run import plan_request
from mibench.stages import prior
from mibench.stages.classifier import load_classifier
from mibench.stages.data import load_images
from mibench.stages.files import load_tensors
from mibench.stages.run import pick_device, run_node
from mibench.store.store import Store
from mibench.training import loop
from mibench.training.checkpoints import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def pixels_of(images):
    return images.pixels(torch.arange(len(images)))


def _trapped(tmp_path):
    """A protocol whose judges raise when they are built."""
    text = PROTOCOL.read_text().replace("{name: coarse}", "{name: trap-eye}")
    text = text.replace("model: {name: tiny, params: {width: 5}}", "model: {name: trap}")
    (tmp_path / "trapped.yaml").write_text(text)
    return (str(tmp_path / "trapped.yaml"),)


def test_attacks_work_where_every_judge_raises(toy_run, tmp_path):
    result = toy_run(protocols=_trapped(tmp_path))
    (cell,) = result.planned.cells
    store = Store(tmp_path / "store")
    assert store.find("reconstruct", cell.reconstructions.key) is not None
    errors = dict(result.failures)
    assert "the evaluator was used" in errors["judge · trap"]
    assert result.exit_code == 1  # the metric that needs them fails, and nothing else does
    assert store.find("measure", cell.measures["match"].key) is None
    assert store.find("measure", cell.measures["light"].key) is not None


@pytest.mark.parametrize("attack", ["guess", "reader"])
def test_an_attack_is_handed_nothing_private(toy_run, tmp_path, attack):
    parts.SEEN.clear()
    result = toy_run(attacks=(attack,))
    _, _, context = parts.SEEN[-1]
    names = {field.name for field in dataclasses.fields(AttackContext)}
    allowed = {
        "seed",
        "size",
        "channels",
        "device",
        "public",
        "progress",
        "cached",
        "train_prior",
        "evaluator",
        "deliver",
    }
    assert names == allowed == set(vars(context))
    assert context.evaluator is None  # no evaluator for an attack that does not confess to peeking
    store, graph = Store(tmp_path / "store"), result.planned.cells[0].graph
    if attack == "guess":
        assert context.public is None
        return
    private = pixels_of(load_images(store.get("data", graph.data("private").key)))
    public = pixels_of(load_images(store.get("data", graph.data("public").key)))
    seen = (context.public.all_images() * 255).round().to(torch.uint8)
    assert torch.equal(seen, public)
    as_bytes = {image.numpy().tobytes() for image in private}
    assert not as_bytes & {image.numpy().tobytes() for image in seen}


def test_the_target_an_attack_sees_is_the_saved_one_and_frozen(toy_run, tmp_path):
    parts.SEEN.clear()
    result = toy_run()
    view, generator, _ = parts.SEEN[-1]
    saved = load_tensors(
        Store(tmp_path / "store").get("target", result.planned.cells[0].target.key).file("weights.safetensors")
    )
    assert {n: t.tolist() for n, t in view.module().state_dict().items()} == {n: t.tolist() for n, t in saved.items()}
    for module in (view.module(), generator):
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())


def test_the_ledger_is_what_the_formula_says(toy_run, tmp_path):
    result = toy_run()
    ledger = (
        Store(tmp_path / "store").get("reconstruct", result.planned.cells[0].reconstructions.key).json("ledger.json")
    )
    steps, images, classes = 3, 2, 3  # toy.yaml and the preset quick
    assert ledger["shared"] == {"forward": images, "backward": 0, "render": images}
    looks = images * (steps + 1)
    assert ledger["per_class"]["1"] == {"forward": looks, "backward": images * steps, "render": looks}
    assert ledger["total"]["forward"] == images + classes * images * (steps + 1)


def test_a_budget_that_is_too_small_fails_the_cell(toy_run, tmp_path):
    path = tmp_path / "tight.yaml"
    path.write_text(PROTOCOL.read_text() + "budget: {backward: 5}\n")
    result = toy_run(protocols=(str(path),))
    ((label, error),) = result.failures
    assert label.startswith("guess on plain")
    assert "budget is 5 per class x 3 classes" in error


def test_evidence_is_8_bit_and_ordered_by_class(toy_run, tmp_path):
    result = toy_run()
    cell = result.planned.cells[0]
    made = load_tensors(
        Store(tmp_path / "store").get("reconstruct", cell.reconstructions.key).file("evidence.safetensors")
    )
    assert made["pixels"].dtype == torch.uint8
    assert made["pixels"].shape == (6, 1, 16, 16)
    assert made["labels"].tolist() == [0, 0, 1, 1, 2, 2]


def test_gold_holds_the_held_out_images(toy_run, tmp_path):
    graph = toy_run().planned.cells[0].graph
    store = Store(tmp_path / "store")
    gold = load_tensors(store.get("gold", graph.gold().key).file("evidence.safetensors"))
    private = load_images(store.get("data", graph.data("private").key))
    assert gold["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    for pixels, label in zip(gold["pixels"], gold["labels"], strict=True):
        same = [torch.equal(pixels, other) for other in pixels_of(private)]
        assert sum(same) == 1
        assert private.labels_N[same.index(True)] == label


@pytest.mark.parametrize("stage", ["prior", "target", "reconstruct", "measure"])
def test_a_damaged_artifact_is_made_again_as_it_was(toy_run, tmp_path, stage):
    first = toy_run()
    cell = first.planned.cells[0]
    nodes = {"prior": cell.graph.prior(), "target": cell.target, "reconstruct": cell.reconstructions}
    folder = tmp_path / "store" / "artifacts" / stage / nodes.get(stage, cell.measures["light"]).key
    contents = Store(tmp_path / "store").get(stage, folder.name).content
    file = next(f for f in sorted(folder.iterdir()) if f.name != "manifest.json")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    if stage == "prior":  # nothing asks for it while its results are there
        for other in (tmp_path / "store" / "artifacts" / "reconstruct").iterdir():
            (other / "manifest.json").write_text("{")
    again = toy_run()
    assert again.exit_code == 0
    assert [r.digest for r in again.records] == [r.digest for r in first.records]
    assert Store(tmp_path / "store").get(stage, folder.name).content == contents
    assert any("checksum" in f.read_text() for f in (tmp_path / "store" / "damaged").glob("*/reason.txt"))


def test_a_loss_that_is_not_finite_says_when(toy_run):
    result = toy_run(defenses=("diverging",))
    ((label, error),) = result.failures
    assert label == "diverging · tiny · seed 3"
    # 12 training images in batches of 5, 5 and 2: step 4 is the second one of the second epoch.
    told = "training diverged: the loss is nan at step 4 of epoch 1; the learning rate is 0.01. Lower it,"
    assert error.startswith(told)


def test_a_failing_cell_stops_no_other(toy_run, tmp_path):
    result = toy_run(defenses=("broken", "noisy"))
    status = {record.cell.defense: record.status for record in result.records}
    assert status == {"plain": "done", "broken": "failed", "noisy": "done"}
    assert result.exit_code == 1
    failure = next(record.failure for record in result.records if record.status == "failed")
    assert failure.stage == "broken · tiny · seed 3"
    assert failure.error.startswith("RuntimeError: this defense is broken (at ")
    assert len(result.failures) == 1  # what was skipped because of it is not told again
    saved = [json.loads(path.read_text())["status"] for path in result.record_paths]
    assert sorted(saved) == ["done", "done", "failed"]


def test_a_run_leaves_global_randomness_and_drafts_behind_as_they_were(toy_run, tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    toy_run(defenses=("noisy",))
    assert torch.equal(torch.get_rng_state(), before)
    assert not list((tmp_path / "store").glob("artifacts/*/.*"))
    assert not list((tmp_path / "store" / "work").iterdir())


def test_global_randomness_changes_no_byte(toy_run, tmp_path):
    contents = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        root = tmp_path / str(seed)
        toy_run(defenses=("noisy",), store=root)
        manifests = sorted(root.glob("artifacts/*/*/manifest.json"))
        contents.append({path.parent.name: json.loads(path.read_text())["content"] for path in manifests})
    assert contents[0] == contents[1]


SHARE = """
import os, sys, time
from pathlib import Path
import fake_plugin
import kornia.augmentation, torch._dynamo
from mibench.session.run import run
from mibench.protocol.request import Request

root = Path(sys.argv[1])
start = time.monotonic() + 0.5
children = []
for n in (1, 2):  # forked, so that both begin at the same moment
    pid = os.fork()
    if pid == 0:
        while time.monotonic() < start:
            pass
        request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",), device="cpu",
                          store=root / "store", output=root / f"output {n}")
        result = run(request, fake_plugin.registry())
        text = " ".join([str(result.exit_code), *[record.digest for record in result.records]])
        (root / f"answer {n}").write_text(text)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""


def test_two_processes_run_the_same_request_on_one_store(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", "MIBENCH_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SHARE, str(tmp_path)], env=environment, check=True, timeout=100)
    answers = [(tmp_path / f"answer {n}").read_text().split() for n in (1, 2)]
    assert answers[0] == answers[1]
    assert answers[0][0] == "0"
    folders = list((tmp_path / "store" / "artifacts").glob("*/*"))
    request = Request(protocols=("toy",), defenses=("noisy",), attacks=("guess",), store=tmp_path / "store")
    import fake_plugin

    plan = plan_request(request, fake_plugin.registry())
    assert plan.to_run == []
    assert {p.key for p in plan.nodes} <= {f.name for f in folders}
    assert len({f.name for f in folders}) == len(folders)  # one artifact per key, no drafts beside them
    assert not any(f.name.startswith(".") for f in folders)
    assert not list((tmp_path / "store" / "damaged").iterdir())


def test_a_checkpoint_that_cannot_be_read_is_no_checkpoint(tmp_path):
    path = tmp_path / "training.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"epoch": 3, "w": torch.ones(2)})
    assert load_checkpoint(path)["epoch"] == 3
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not a checkpoint"):
        path.write_bytes(damaged)
        assert load_checkpoint(path) is None


def test_a_failed_stage_keeps_its_checkpoints(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    result = toy_run(defenses=("diverging",))
    key = result.planned.cells[-1].target.key
    assert (tmp_path / "store" / "work" / key / "training.pt").is_file()
    again = toy_run(defenses=("diverging",))
    reasons = {p.key: p.reason for p in again.planned.nodes}
    assert reasons[key] == "continues from a checkpoint"
    assert again.failures == result.failures


def test_a_loaded_target_is_the_trained_one(toy_run, toy_registry, tmp_path):
    result = toy_run(defenses=("noisy",))
    cell = result.planned.cells[-1]
    artifact = Store(tmp_path / "store").get("target", cell.target.key)
    model = load_classifier(Components(toy_registry), artifact, CPU)
    private = load_images(Store(tmp_path / "store").get("data", cell.graph.data("private").key))
    from mibench.stages.data import private_indices

    chosen = torch.tensor(private_indices(cell.graph.split, private.labels_N.tolist()).train)
    hits = (model(private.images(chosen)).argmax(1) == private.labels_N[chosen]).double().mean().item()
    report = artifact.json("report.json")
    assert report["sanity_accuracy"]["train"] == hits
    assert len(report["history"]) == 5
    assert set(report["history"][0]) == {"loss", "noise"}


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch, there, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert pick_device("auto") == torch.device(kind)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_devices(name):
    assert pick_device(name).type in ("cpu", "cuda")
    with pytest.raises(MibenchError, match="is not a device"):
        pick_device("toaster")
    with pytest.raises(MibenchError, match="torch sees"):
        pick_device("cuda:99")


def test_run_node_takes_what_another_process_made_while_it_waited(toy_registry, tmp_path):
    plan = plan_request(
        Request(protocols=("toy",), attacks=("guess",), defenses=("plain",), store=tmp_path), toy_registry
    )
    node = plan.to_run[0]
    mine, theirs = Store(tmp_path), Store(tmp_path)
    assert mine.find(node.stage, node.key) is None
    first = run_node(node, theirs, toy_registry, CPU, lambda *_: None)
    second = run_node(node, mine, toy_registry, CPU, lambda *_: pytest.fail("it worked again"))
    assert second.content == first.content
    assert second.meta == first.meta


class _Killed(Exception):
    pass


@pytest.mark.parametrize("noise", [1, 2])
def test_a_step_of_a_prior_draws_the_same_wherever_its_training_began(toy_registry, tmp_path, monkeypatch, noise):
    """A target that answers at random draws from torch's global generator while a prior asks it."""
    drawn = []
    step = parts.LinearTrainer.step
    monkeypatch.setattr(
        parts.LinearTrainer, "step", lambda self, index: drawn.append(float(torch.rand(()))) or step(self, index)
    )
    request = Request(protocols=("toy",), attacks=("guess",), defenses=("plain",), store=tmp_path)
    public, node = (p.node for p in plan_request(request, toy_registry).nodes if p.label.endswith("public identities"))
    torch.rand(noise)
    for wanted in (public, node):
        run_node(wanted, Store(tmp_path), toy_registry, CPU, lambda *_: None)
    expected = []
    for index in range(12):
        with seeded(node.payload["seed"], "network", index):
            expected.append(float(torch.rand(())))
    assert drawn == expected


def test_a_prior_that_is_killed_before_its_commit_reports_the_same(toy_registry, tmp_path, monkeypatch):
    monkeypatch.setattr(prior, "CHECKPOINT_SECONDS", -1.0)
    request = Request(protocols=("toy",), attacks=("guess",), defenses=("plain",), store=tmp_path / "one")
    public, node = (p.node for p in plan_request(request, toy_registry).nodes if p.label.endswith("public identities"))
    whole, resumed = Store(tmp_path / "one"), Store(tmp_path / "two")
    for store in (whole, resumed):
        run_node(public, store, toy_registry, CPU, lambda *_: None)
    run_node(node, whole, toy_registry, CPU, lambda *_: None)
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(parts.LinearTrainer, "finish", lambda self: (_ for _ in ()).throw(_Killed))
        run_node(node, resumed, toy_registry, CPU, lambda *_: None)
    assert (resumed.work(node.key) / "prior.pt").is_file()
    made = run_node(node, resumed, toy_registry, CPU, lambda *_: None)
    assert made.content == whole.get("prior", node.key).content
