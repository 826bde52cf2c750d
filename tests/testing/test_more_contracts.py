"""Contracts of models, embedders, executors and importers: honest components pass, broken ones are caught."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mibench.api import DataError, Embedder, Imported, Importer, Model
from mibench.execute.inline import Inline
from mibench.execute.local import Local
from mibench.testing import (
    EmbedderContract,
    ExecutorContract,
    ImporterContract,
    ModelContract,
    TinyEmbedder,
    contract_for,
    run_checks,
)
from mibench.testing.tiny_parts import tiny_classifier


def caught(kind, component):
    return {o.check for o in run_checks(contract_for(kind, component)) if o.verdict in {"failed", "error"}}


# --- models ---


@dataclass(frozen=True, kw_only=True)
class Net(Model):
    """A network whose weights follow the global generator, which the core seeds."""

    def build(self, *, num_classes, channels, size):
        return tiny_classifier(num_classes, channels, seed=int(torch.randint(2**31, ())))


class TestHonestModel(ModelContract):
    component = Net


@dataclass(frozen=True, kw_only=True)
class AlwaysTheSame(Net):
    """Ignores the seed."""

    def build(self, *, num_classes, channels, size):
        return tiny_classifier(num_classes, channels, seed=3)


@dataclass(frozen=True, kw_only=True)
class TooManyClasses(Net):
    """Adds a class."""

    def build(self, *, num_classes, channels, size):
        return super().build(num_classes=num_classes + 1, channels=channels, size=size)


@dataclass(frozen=True, kw_only=True)
class Nameless(Net):
    """Names no stage."""

    def build(self, *, num_classes, channels, size):
        made = super().build(num_classes=num_classes, channels=channels, size=size)
        made.stage_names = []
        return made


class Centred(torch.nn.Module):
    def forward(self, x_BCHW):
        return x_BCHW - x_BCHW.mean(0)


@dataclass(frozen=True, kw_only=True)
class Crowd(Net):
    """Normalises over the batch in evaluation mode too."""

    def build(self, *, num_classes, channels, size):
        made = super().build(num_classes=num_classes, channels=channels, size=size)
        made.body.block1.append(Centred())
        return made


@dataclass(frozen=True, kw_only=True)
class Absent(Net):
    """Waits for weights."""

    def missing(self):
        return ["weights.bin: get it from its owner"]


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (Net, set()),
        (AlwaysTheSame, {"same_seed_same_network"}),
        (TooManyClasses, {"gives_logits_and_features"}),
        (Nameless, {"stages_are_named"}),
        (Crowd, {"an_image_does_not_see_its_batch"}),
        (Absent, set()),
    ],
)
def test_broken_models_are_caught(component, expected):
    assert caught("model", component) == expected


def test_a_model_without_its_files_is_skipped():
    skipped = {o.check: o.message for o in run_checks(contract_for("model", Absent)) if o.verdict == "skipped"}
    assert len(skipped) == 5
    assert set(skipped.values()) == {"weights.bin: get it from its owner"}


# --- embedders ---


@dataclass(frozen=True, kw_only=True)
class Eye(TinyEmbedder):
    """Coarse colours."""


class TestHonestEmbedder(EmbedderContract):
    component = Eye


@dataclass(frozen=True, kw_only=True)
class Long(Eye):
    """Not normalised."""

    def embed(self, x_NCHW):
        return 2 * super().embed(x_NCHW)


@dataclass(frozen=True, kw_only=True)
class Sociable(Eye):
    """Centres a batch."""

    def embed(self, x_NCHW):
        made_ND = super().embed(x_NCHW)
        return torch.nn.functional.normalize(made_ND + 0.5 * made_ND.mean(0), dim=1)


@dataclass(frozen=True, kw_only=True)
class Moody(Eye):
    """Follows the global generator."""

    def embed(self, x_NCHW):
        made_ND = super().embed(x_NCHW)
        return torch.nn.functional.normalize(made_ND + 1e-6 * torch.randn(made_ND.shape), dim=1)


@dataclass(frozen=True, kw_only=True)
class Blind(Eye):
    """Takes the first channel of a colour image for the whole, and fails on grey."""

    def embed(self, x_NCHW):
        if x_NCHW.shape[1] != 3:
            raise ValueError("three channels only")
        return super().embed(x_NCHW)


@dataclass(frozen=True, kw_only=True)
class Vague(Eye):
    """Says that something is missing, not what."""

    def missing(self):
        return "weights"


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (Eye, set()),
        (Long, {"embeddings_are_unit_vectors"}),
        (Sociable, {"an_image_does_not_see_its_batch"}),
        (Moody, {"same_images_same_embeddings"}),
        (Blind, {"grey_images_are_embedded"}),
        (Vague, {"missing_says_what"}),
    ],
)
def test_broken_embedders_are_caught(component, expected):
    assert issubclass(component, Embedder)
    assert caught("model", component) == expected  # plugins announce embedders as models


# --- executors ---


class TestInline(ExecutorContract):
    component = Inline


@pytest.mark.slow
class TestLocal(ExecutorContract):
    component = Local


@dataclass(frozen=True, kw_only=True)
class Careless(Inline):
    """Runs the last node first."""

    def run(self, nodes, ctx):
        return super().run(list(reversed(nodes)), ctx)


@dataclass(frozen=True, kw_only=True)
class Stubborn(Inline):
    """Goes on after Ctrl-C."""

    def run(self, nodes, ctx):
        while True:
            try:
                return super().run(nodes, ctx)
            except KeyboardInterrupt:
                pass


@dataclass(frozen=True, kw_only=True)
class Faint(Inline):
    """Gives up at the first failure."""

    def run(self, nodes, ctx):
        outcome = super().run(nodes[:2], ctx)
        return outcome if outcome.failed else super().run(nodes, ctx)


@dataclass(frozen=True, kw_only=True)
class Lazy(Inline):
    """Makes nothing, and says that it has."""

    def run(self, nodes, ctx):
        made = super().run([], ctx)
        made.seconds.update((node.key, 0.0) for node in nodes)
        return made


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (Inline, set()),
        (Careless, {"runs_a_plan", "a_failure_costs_only_what_needs_it", "an_interruption_ends_it"}),
        (Stubborn, {"an_interruption_ends_it"}),
        (Lazy, {"runs_a_plan", "a_failure_costs_only_what_needs_it", "an_interruption_ends_it"}),
    ],
)
def test_broken_executors_are_caught(component, expected):
    assert caught("executor", component) == expected


# --- importers ---


@dataclass(frozen=True, kw_only=True)
class Notes(Importer):
    """Reads files that begin with ``note:``."""

    def run(self, source: Path, folder: Path) -> Imported:
        if not source.is_file():
            raise DataError(f"{source} does not exist. Give the path of a note.")
        content = source.read_bytes()
        if not content.startswith(b"note:"):
            raise DataError(f"{source} is no note; expected it to begin with 'note:'.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "note.txt").write_bytes(content)
        return Imported(folder, "a note", ("read it",))


class NotesContract(ImporterContract):
    component = Notes

    def example(self, folder):
        (folder / "mine").write_text("note: milk")
        return folder / "mine"


class TestHonestImporter(NotesContract):
    pass


class Greedy(Notes):
    """Takes anything."""

    def run(self, source, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "note.txt").write_bytes(source.read_bytes())
        return Imported(folder, "a note", ("read it",))


class Obedient(Notes):
    """Executes what it reads."""

    def run(self, source, folder):
        if source.is_file() and source.read_bytes().startswith(b"c"):
            raise SystemExit(3)
        return super().run(source, folder)


class Messy(Notes):
    """Leaves half a file behind."""

    def run(self, source, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "half").write_text("half")
        return super().run(source, folder)


class Gruff(Notes):
    """Says no more than no."""

    def run(self, source, folder):
        try:
            return super().run(source, folder)
        except DataError:
            raise DataError("no") from None


class Elsewhere(Notes):
    """Names another folder than it wrote."""

    def run(self, source, folder):
        return Imported(super().run(source, folder).folder.parent, "a note", ("read it",))


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (Notes, set()),
        (Greedy, {"refuses_garbage", "refuses_what_is_not_there"}),
        (Obedient, {"refuses_garbage"}),
        (Messy, {"refuses_garbage", "refuses_what_is_not_there"}),
        (Gruff, {"refuses_garbage", "refuses_what_is_not_there"}),
        (Elsewhere, {"writes_what_it_says"}),
    ],
)
def test_broken_importers_are_caught(component, expected):
    contract = type("Contract", (NotesContract,), {"component": component})
    assert {o.check for o in run_checks(contract) if o.verdict != "passed"} == expected


def test_an_importer_without_an_example_is_skipped_there():
    outcomes = {o.check: o for o in run_checks(contract_for("importer", Notes))}
    assert outcomes["writes_what_it_says"].verdict == "skipped"
    assert outcomes["refuses_garbage"].verdict == "passed"
