"""Checkpoints are trusted as far as their checksum and their maker go; what does not fit is done again, once."""

import json
import logging

import pytest
import torch
from fake_plugin import PROTOCOL, parts

from mibench.protocol.request import Request
from mibench.registry.registry import Registry
from mibench.session.run import plan_request
from mibench.stages import prior
from mibench.stages.compute_cache import ComputeCache
from mibench.stages.data import load_images
from mibench.stages.run import run_node
from mibench.store.store import Store
from mibench.training import loop

CPU = torch.device("cpu")


class _Killed(BaseException):
    """As ``kill -9``: nothing of the stage's own catches it."""


def _flip_last_but_two(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def _flip_a_digit(path):
    """Change the first digit of what a JSON checkpoint says was spent."""
    text = path.read_text()
    at = next(i for i in range(text.index("spent" if "spent" in text else "forward"), len(text)) if text[i].isdigit())
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def _truncate(path):
    path.write_bytes(path.read_bytes()[:40])


def _empty(path):
    path.write_bytes(b"")


def _stages(plan, wanted):
    """Return the node and all that it needs, inputs first."""
    by_key = {planned.key: planned.node for planned in plan.nodes}
    keys = [key for key in by_key if key in wanted.needs.values()]
    return [node for key in keys for node in _stages(plan, by_key[key])] + [wanted]


def _make(store, registry, plan, wanted):
    for node in _stages(plan, wanted):
        made = run_node(node, store, registry, CPU, lambda *_: None)
    return made


def _plan(registry, root, **fields):
    defaults = {"protocols": ("toy",), "attacks": ("guess",), "defenses": ("plain",), "device": "cpu"}
    return plan_request(Request(**{**defaults, **fields}, store=root), registry)


def _interrupt_attack(registry, root, monkeypatch, *, after, protocol="toy"):
    """Attack until ``after`` classes are done; return the plan and the node."""
    plan = _plan(registry, root, protocols=(protocol,))
    node, honest = plan.cells[0].reconstructions, parts.Guess.reconstruct

    def until(self, label, *world):
        if label == after:
            raise _Killed
        return honest(self, label, *world)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(parts.Guess, "reconstruct", until)
        _make(Store(root), registry, plan, node)
    return plan, node


def test_a_resumed_attack_counts_the_classes_that_it_found_done(toy_registry, tmp_path, monkeypatch):
    _, node = _interrupt_attack(toy_registry, tmp_path / "store", monkeypatch, after=1)
    reports = []
    run_node(node, Store(tmp_path / "store"), toy_registry, CPU, lambda *told: reports.append(told[:3]))
    assert reports == [(1, 3, "classes"), (2, 3, "classes"), (3, 3, "classes")]


@pytest.fixture()
def honest(toy_registry, tmp_path):
    """The attack's artifact without any interruption."""
    plan = _plan(toy_registry, tmp_path / "honest")
    return _make(Store(tmp_path / "honest"), toy_registry, plan, plan.cells[0].reconstructions)


DAMAGE = [
    ("class_00000.safetensors", _flip_last_but_two),
    ("class_00000.safetensors", _truncate),
    ("class_00000.safetensors", _empty),
    ("class_00000.safetensors", lambda path: path.unlink()),
    ("class_00000.json", _flip_a_digit),
    ("class_00000.json", _truncate),
    ("class_00000.json", _empty),
    ("shared.json", _flip_a_digit),
    ("shared.json", _empty),
]


@pytest.mark.parametrize(("name", "harm"), DAMAGE)
def test_a_damaged_class_of_an_unfinished_attack_is_attacked_again(
    toy_registry, tmp_path, monkeypatch, honest, name, harm
):
    plan, node = _interrupt_attack(toy_registry, tmp_path / "store", monkeypatch, after=2)
    harm(tmp_path / "store" / "work" / node.key / name)
    again = _make(Store(tmp_path / "store"), toy_registry, plan, node)
    assert again.files == honest.files


@pytest.mark.parametrize(("name", "harm"), [("shared.json", _flip_a_digit), ("shared.json", _truncate)])
def test_a_damaged_share_is_made_again_when_all_classes_are_done(
    toy_registry, tmp_path, monkeypatch, honest, name, harm
):
    plan = _plan(toy_registry, tmp_path / "store")
    node = plan.cells[0].reconstructions
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr("mibench.stages.reconstruct.save_streamed", lambda *_: (_ for _ in ()).throw(_Killed))
        _make(Store(tmp_path / "store"), toy_registry, plan, node)
    harm(tmp_path / "store" / "work" / node.key / name)
    assert _make(Store(tmp_path / "store"), toy_registry, plan, node).files == honest.files


def test_a_class_in_the_place_of_another_is_not_taken_for_it(toy_registry, tmp_path, monkeypatch, honest):
    plan, node = _interrupt_attack(toy_registry, tmp_path / "store", monkeypatch, after=2)
    work = tmp_path / "store" / "work" / node.key
    for ending in ("json", "safetensors"):
        (work / f"class_00002.{ending}").write_bytes((work / f"class_00000.{ending}").read_bytes())
    assert _make(Store(tmp_path / "store"), toy_registry, plan, node).files == honest.files


@pytest.mark.parametrize(("short", "enough"), [(0, True), (1, False)])
def test_the_budget_counts_each_class_once_after_damage(toy_registry, tmp_path, monkeypatch, short, enough):
    """Two starts, then 2 x 4 forward passes and 2 x 3 gradients in each of 3 classes: 26 forward, 18 backward."""
    path = tmp_path / "tight.yaml"
    path.write_text(PROTOCOL.read_text() + f"budget: {{backward: {6 - short}}}\n")
    plan, node = _interrupt_attack(toy_registry, tmp_path / "store", monkeypatch, after=2, protocol=str(path))
    _flip_last_but_two(tmp_path / "store" / "work" / node.key / "class_00000.safetensors")
    if enough:
        total = _make(Store(tmp_path / "store"), toy_registry, plan, node).json("ledger.json")["total"]
        assert total == {"forward": 26, "backward": 18, "render": 26}
        return
    with pytest.raises(Exception, match="its budget is 5 per class x 3 classes"):
        _make(Store(tmp_path / "store"), toy_registry, plan, node)


def _interrupt_training(registry, root, monkeypatch, stage):
    """Train a target or a prior until its first checkpoints are there; return the plan, the node and the checkpoint."""
    plan = _plan(registry, root, defenses=("noisy",))
    cell = plan.cells[-1]
    node, name = {"target": (cell.target, "training.pt"), "prior": (cell.prior_node, "prior.pt")}[stage]
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(prior, "CHECKPOINT_SECONDS", -1.0)
    module = loop if stage == "target" else prior
    save, saved = module.save_checkpoint, []

    def once_more(*arguments):
        saved.append(1)
        if len(saved) == 3:
            raise _Killed
        save(*arguments)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(module, "save_checkpoint", once_more)
        _make(Store(root), registry, plan, node)
    checkpoint = root / "work" / node.key / name
    assert checkpoint.is_file()
    return plan, node, checkpoint


@pytest.mark.parametrize("step", [1, 4])
def test_what_a_prior_spent_on_the_target_is_counted_over_restarts(toy_registry, tmp_path, monkeypatch, caplog, step):
    """The guided prior asks for the features of two images in each of its 6 steps."""
    monkeypatch.setattr(prior, "CHECKPOINT_SECONDS", -1.0)
    guided = {"attacks": ("picky",), "settings": {"picky.brings": "guided"}}
    plan = _plan(toy_registry, tmp_path / "whole", **guided)
    node, save = plan.cells[0].prior_node, prior.save_checkpoint
    whole = _make(Store(tmp_path / "whole"), toy_registry, plan, node)

    def until(path, state):
        if state["step"] > step:
            raise _Killed
        save(path, state)

    store, plan = Store(tmp_path / "stopped"), _plan(toy_registry, tmp_path / "stopped", **guided)
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(prior, "save_checkpoint", until)
        _make(store, toy_registry, plan, node)
    assert (store.work(node.key) / "prior.pt").is_file()
    with caplog.at_level(logging.WARNING):
        again = _make(store, toy_registry, plan, node)
    assert not caplog.records  # it went on, and did not begin anew
    report = again.json("report.json")
    assert report["spent"] == {"forward": 12, "backward": 0, "render": 0}
    pictures = len(load_images(store.get("data", plan.cells[0].graph.data("public").key)))
    assert (report["images"], report["steps"], set(report["last_signals"])) == (pictures, 6, {"loss"})
    assert again.files == whole.files


def _unfitting(path):
    """As an earlier edit of the network left it: whole, and of another structure."""
    from mibench.training.checkpoints import save_checkpoint

    odd = {"model": {"conv.weight": torch.zeros(1)}, "optimizer": {}, "schedule": {}, "extras": {}, "history": [{}]}
    save_checkpoint(path, {**odd, "epoch": 3, "step": 3, "trainer": {"other": torch.zeros(1)}, "spent": {}})


@pytest.mark.parametrize("stage", ["target", "prior"])
@pytest.mark.parametrize("harm", [_flip_last_but_two, _truncate, _empty, _unfitting])
def test_a_training_whose_checkpoint_does_not_hold_begins_again(
    toy_registry, tmp_path, monkeypatch, caplog, stage, harm
):
    whole = _plan(toy_registry, tmp_path / "whole", defenses=("noisy",)).cells[-1]
    wanted = whole.target if stage == "target" else whole.prior_node
    honest = _make(Store(tmp_path / "whole"), toy_registry, _plan(toy_registry, tmp_path / "whole"), wanted)
    _, node, checkpoint = _interrupt_training(toy_registry, tmp_path / "store", monkeypatch, stage)
    harm(checkpoint)
    reports = []
    with caplog.at_level(logging.WARNING):
        again = run_node(node, Store(tmp_path / "store"), toy_registry, CPU, lambda done, *_: reports.append(done))
    assert again.files == honest.files
    assert stage == "prior" or reports[0] == 1  # from the beginning
    assert checkpoint.name in caplog.text
    assert "begins again" in caplog.text


def test_what_an_attack_remembered_is_made_again_after_a_flipped_bit(tmp_path):
    from mibench.testing import TinyWorld

    def keep():
        view = TinyWorld().target()
        keeper = ComputeCache(tmp_path, view, 0, CPU)
        made = keeper("students", lambda: {"draw": torch.rand(4), "seen": view.logits(torch.zeros(3, 3, 16, 16))})
        return made["draw"].tolist(), view.ledger.forward

    first = keep()
    (kept,) = tmp_path.glob("kept_*.pt")
    for at in range(len(kept.read_bytes()) // 2, len(kept.read_bytes()), 97):
        content = bytearray(kept.read_bytes())
        content[at] ^= 1
        kept.write_bytes(bytes(content))
        assert keep() == first


@pytest.mark.parametrize("stage", ["target", "prior"])
def test_a_training_is_not_continued_by_other_code(toy_registry, tmp_path, monkeypatch, caplog, stage):
    """The author edits the component between the interruption and the next run."""
    _, node, _ = _interrupt_training(toy_registry, tmp_path / "store", monkeypatch, stage)
    before = Registry.source_digest
    monkeypatch.setattr(Registry, "source_digest", lambda self, entry: before(self, entry)[::-1])
    owner = parts.Noisy if stage == "target" else parts.LinearTrainer
    method = "training_step" if stage == "target" else "step"
    calls, old = [], getattr(owner, method)
    monkeypatch.setattr(owner, method, lambda *given: calls.append(1) or old(*given))
    role = "defense" if stage == "target" else "prior"
    plan = _plan(toy_registry, tmp_path / "store", defenses=("noisy",))
    reason = next(planned.reason for planned in plan.nodes if planned.key == node.key)
    assert reason.startswith("begins again: its checkpoint was made by other ")
    assert f"source code of the {role}" in reason
    with caplog.at_level(logging.WARNING):
        run_node(node, Store(tmp_path / "store"), toy_registry, CPU, lambda *_: None)
    assert len(calls) == (5 * 3 if stage == "target" else 12)  # all steps, by one code
    assert "begins again" in caplog.text
    assert f"source code of the {role}" in caplog.text


OTHERWISE = [{"inputs": {"private": "0" * 64}}, {"threads": 99}, {"device_name": "another"}, {"torch": "1.0"}]


@pytest.mark.parametrize("change", [{}, *OTHERWISE], ids=lambda change: next(iter(change), "same"))
def test_a_training_is_continued_by_what_began_it_alone(toy_registry, tmp_path, monkeypatch, caplog, change):
    _, node, checkpoint = _interrupt_training(toy_registry, tmp_path / "store", monkeypatch, "target")
    stamp = checkpoint.with_name("made_by.json")
    told = json.loads(stamp.read_text())
    assert told["threads"] == torch.get_num_threads()
    data = Store(tmp_path / "store").get("data", node.needs["private"])
    assert told["inputs"] == {"private": data.content}
    stamp.write_text(json.dumps({**told, **change}))
    reports = []
    with caplog.at_level(logging.WARNING):
        run_node(node, Store(tmp_path / "store"), toy_registry, CPU, lambda done, *_: reports.append(done))
    assert reports[0] == (1 if change else 3)
    assert all(f"made by other {name}" in caplog.text for name in change)


def test_a_checkpoint_that_the_system_does_not_give_out_is_left_where_it_is(toy_registry, tmp_path, monkeypatch):
    _, node, checkpoint = _interrupt_training(toy_registry, tmp_path / "store", monkeypatch, "target")
    checkpoint.unlink()
    checkpoint.mkdir()  # reading it is an error, also for root
    with pytest.raises(Exception, match=r"cannot read the checkpoint .*training\.pt: Is a directory; remove it"):
        run_node(node, Store(tmp_path / "store"), toy_registry, CPU, lambda *_: None)
    assert checkpoint.is_dir()
