"""Attacks that are killed, between two classes and inside of one, and resumed through the stage ``reconstruct``."""

import mibench_attacks
import mibench_defenses
import mibench_models
import pytest
import torch

from mibench.api import TargetView, seeded
from mibench.nodes.classifier import TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.marks import Ref
from mibench.nodes.node import Node
from mibench.nodes.prior import PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.protocol.schema import ImageShape, QueryBudget, Recipe
from mibench.protocol.split import PrivateSplit
from mibench.registry.build import Components
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry
from mibench.stages.classifier import build
from mibench.stages.files import load_tensors, save_tensors
from mibench.stages.run import run_node
from mibench.store.store import Store
from mibench.testing import TinyWorld

CPU = torch.device("cpu")
WORLD = TinyWorld(channels=1)
IMAGE = ImageShape(size=WORLD.size, channels=WORLD.channels)
REGISTRY = Registry.from_modules(mibench_attacks, mibench_defenses, mibench_models)
PRIORS = {"pca": {"components": 6}, "dcgan": {"z_dim": 6, "width": 4}}
ATTACKS = {
    "ppa": ("pca", {"pool": 12, "candidates": 4, "final": 2, "steps": 3, "draws": 2, "batch": 3}),
    "gmi": ("dcgan", {"restarts": 3, "final": 2, "steps": 3, "batch_ref": 5, "batch": 2}),
    # it distils students once, remembers them, and draws anew in each step
    "lomma": (
        "dcgan",
        {"host": "ked", "candidates": 3, "final": 2, "steps": 3, "samples": 2, "batch_ref": 5, "public_images": 12}
        | {"students": ["cnn-2"], "student_epochs": 1, "student_batch": 6},
    ),
}
"""The prior and the settings of each."""


class Killed(BaseException):
    """No attack catches it."""


class Tripwire:
    """Counts questions to the target since the last report of progress, and kills at one of them or at a report.

    Attributes:
        reports: classes done at each report.
        calls: questions since each report.
    """

    def __init__(self, patch, done=None, call=0):
        self.at, self.reports, self.calls = (done, call), [], []
        for name in ("logits", "features", "logits_and_features"):
            patch.setattr(TargetView, name, self._counted(getattr(TargetView, name)))

    def _counted(self, method):
        def asked(view, x_BCHW):
            self.calls[-1] += 1
            self._fall()
            return method(view, x_BCHW)

        return asked

    def progress(self, done, total, unit, signals):
        self.reports.append(done)
        self.calls.append(0)
        self._fall()

    def _fall(self):
        if self.at == (self.reports[-1], self.calls[-1]):
            raise Killed


def committed(store, inputs, tensors):
    """Put an artifact into a store and return what refers to it."""
    node = Node(inputs, inputs.stage)
    with store.commit(node.stage, node.key, node.payload, {}) as draft:
        for name, content in tensors.items():
            save_tensors(draft / f"{name}.safetensors", content)
        (draft / "report.json").write_text("{}\n")
    return node.ref


def random_weights(module):
    """Return weights under which images and answers differ, whatever the networks begin with."""
    with seeded("weights"):
        return {
            name: 0.3 * torch.randn_like(tensor) if tensor.is_floating_point() and "running" not in name else tensor
            for name, tensor in module.state_dict().items()
        }


def attack_in(store, name):
    """Put a target, a prior and public images into a store; return the node of the attack."""
    people = list(range(WORLD.classes))
    data = DataInputs(dataset=Entry("world", "1", {}), identities=people, image=IMAGE)
    trained = TargetInputs(
        private=Ref("k", ("data",)),
        split=PrivateSplit(seed=0, train=1, val=0, test=1, identities=people),
        model=Entry("smallcnn", "1", {"widths": [4, 8], "features": 8}),
        defense=Entry("none", "1", {}),
        recipe=Recipe(epochs=1, batch=4),
        seed=3,
        image=IMAGE,
        precision="fp32",
    )
    network, _, _ = build(Components(REGISTRY), trained, CPU)
    public = WORLD.attack_context().public
    images = {"classes": torch.tensor(WORLD.classes), "pixels": public.pixels_NCHW, "labels": public.labels_N}  # type: ignore[attr-defined]
    prior, settings = ATTACKS[name]
    generator = REGISTRY.component("prior", prior)(**PRIORS[prior]).build(size=WORLD.size, channels=WORLD.channels)
    public = committed(store, data, {"images": images})
    learned = PriorInputs(public=public, prior=Entry(prior, "1", PRIORS[prior]), seed=0, image=IMAGE)
    inputs = ReconstructInputs(
        target=committed(store, trained, {"weights": random_weights(network), "extras": {}}),
        prior=committed(store, learned, {"weights": random_weights(generator)}),
        public=public,
        attack=Entry(name, "1", settings),
        seed=5,
        image=IMAGE,
        budget=QueryBudget(),
    )
    return Node(inputs, name)


def tried(node, store, done=None, call=0):
    """Run the attack until it ends or is killed; return the artifact, if there is one, and what was counted."""
    with pytest.MonkeyPatch.context() as patch:
        wire = Tripwire(patch, done, call)
        try:
            return run_node(node, store, REGISTRY, CPU, wire.progress), wire
        except Killed:
            return None, wire


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_killed_between_and_inside_of_classes_ends_with_the_same_bytes(name, tmp_path):
    whole_store, store = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    whole, counted = tried(attack_in(whole_store, name), whole_store)
    assert counted.reports == [0, 1, 2, 3, 4]
    evidence = load_tensors(whole.file("evidence.safetensors"))
    assert len(evidence["pixels"].flatten(1).unique(dim=0)) == len(evidence["labels"]) == 8  # no two images are equal

    node, middle = attack_in(store, name), counted.calls[2] // 2 + 1
    assert 1 < middle < counted.calls[2]
    tries = [tried(node, store, 1), tried(node, store, 2, middle), tried(node, store)]
    assert [wire.reports for _, wire in tries] == [[0, 1], [1, 2], [2, 3, 4]]  # each goes on where classes were done
    (first, _), (second, _), (made, _) = tries
    assert (first, second) == (None, None)
    assert made.files == whole.files
    assert {file: made.file(file).read_bytes() for file in made.files} == {
        file: whole.file(file).read_bytes() for file in whole.files
    }
