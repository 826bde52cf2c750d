"""A protocol with a gallery, folds, a suite and the lookalike control, from request to board."""

import pytest
import torch
from fake_plugin import HERE, parts

from mibench.api import GroundTruth, IdentityGallery, MibenchError, TensorImages
from mibench.leaderboard.rules import check_record
from mibench.protocol.load import load_protocol
from mibench.results.record import Record


@pytest.fixture()
def galleries(monkeypatch):
    seen: list[object] = []
    monkeypatch.setattr(parts, "GALLERIES", seen)
    return seen


def test_a_run_meets_the_suite_with_all_controls_and_goes_on_a_board(toy_run, tmp_path, galleries):
    result = toy_run(protocols=("referee",), attacks=("suite",), seeds=(0, 1), publish=tmp_path / "boards")
    assert result.exit_code == 0, result.failures
    assert [(r.cell.attack_label, r.cell.seed) for r in result.records] == [
        ("guess", 0),
        ("guess/deep", 0),
        ("guess", 1),
        ("guess/deep", 1),
    ]
    assert len(result.published) == 4
    first, second = result.records[0], result.records[2]
    assert list(first.controls) == ["gold", "floor", "undefended", "lookalike"]
    assert not set(first.classes.values()) & set(second.classes.values())
    assert first.controls["gold"]["found"].n == 2, "one second portrait of each"
    assert first.controls["gold"]["found"].value == 1.0
    assert first.controls["lookalike"]["found"].n > 0
    assert Record.model_validate_json(first.model_dump_json()) == first

    everyone = [(people.private, people.distractors, people.truth, people.distractor_truth) for people in galleries]
    for private, distractors, truth, others in everyone:
        assert private.all_images().shape == (2, 1, 24, 24)
        assert distractors.all_images().shape == (3, 1, 24, 24)
        assert (truth.unit, truth.values_KD.shape, others.values_KD.shape) == ("mm", (2, 3), (3, 3))
    private, _, truth, _ = everyone[0]
    identities = [int(x) for x in truth.values_KD[:, 0]]  # the fake dataset writes the identity there
    assert identities in (sorted(first.classes.values()), sorted(second.classes.values()))
    expected = parts.Blobs().portraits(identities, size=24, channels=1)
    assert torch.equal(private.pixels_NCHW, expected.pixels_NCHW)


def test_a_board_wants_the_lookalike_and_nothing_that_the_protocol_does_not_have(toy_run, toy_registry):
    def told(record: Record, protocol: str) -> list[str]:
        return [found.text for found in check_record(record, load_protocol(toy_registry, protocol))]

    record = toy_run(protocols=("referee",), attacks=("guess",), seeds=(0,)).records[0]
    assert not told(record, "referee")
    without = {name: values for name, values in record.controls.items() if name != "lookalike"}
    lacking = told(record.model_copy(update={"controls": without}), "referee")
    assert any("controls.lookalike: expected the headline 'found'" in text for text in lacking)
    toy = toy_run(attacks=("guess",), seeds=(3,)).records[0]
    added = {**toy.controls, "lookalike": toy.controls["floor"]}
    strange = told(toy.model_copy(update={"controls": added}), "toy")
    assert any("controls.lookalike: expected controls that the protocol has" in text for text in strange)


def test_a_metric_looks_among_training_images_where_no_gallery_is_named(toy_run, tmp_path, galleries):
    text = (HERE / "toy.yaml").read_text()
    path = tmp_path / "toy.yaml"
    path.write_text(text.replace("metrics: [{name: hits}", "metrics: [{name: found}, {name: hits}"))
    assert toy_run(protocols=(str(path),), seeds=(3,)).exit_code == 0
    assert galleries
    for people in galleries:
        assert (len(people.private), people.distractors) == (3 * 4, None)
        assert people.truth.values_KD.shape == (3, 3)


def test_all_images_of_distractors_stand_beside_training_images(toy_run, tmp_path, galleries):
    path = tmp_path / "referee.yaml"
    path.write_text((HERE / "referee.yaml").read_text().replace("images: portraits, ", ""))
    result = toy_run(protocols=(str(path),), attacks=("guess",), seeds=(0,))
    assert result.records[0].controls["gold"]["found"].n == 2 * 2, "held-out images, as without portraits"
    for people in galleries:
        assert (len(people.private), len(people.distractors)) == (2 * 4, 3 * 8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("portraits", "'blobs' delivered portraits of classes [0]; expected one of each of 2 identities, in order"),
        ("truth", "'blobs' told the truth of 1 identities; expected 2"),
    ],
)
def test_a_dataset_that_forgets_someone_is_refused(toy_run, monkeypatch, wrong, message):
    kept = getattr(parts.Blobs, wrong)
    monkeypatch.setattr(parts.Blobs, wrong, lambda self, identities, **more: kept(self, list(identities)[:1], **more))
    result = toy_run(protocols=("referee",), attacks=("guess",), seeds=(0,))
    assert result.exit_code == 1
    assert any(message in error for _, error in result.failures)


def test_a_gallery_without_the_own_person_is_refused():
    pictures = TensorImages(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 2]), 3)
    with pytest.raises(MibenchError, match="the gallery has no picture of class 1; every person must be in it"):
        IdentityGallery(pictures)
    whole = TensorImages(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.arange(3), 3)
    with pytest.raises(MibenchError, match="no picture of distractor 1"):
        IdentityGallery(whole, pictures)
    with pytest.raises(MibenchError, match=r"the gallery has 3 people \(class\), and the truth is of 2"):
        IdentityGallery(whole, truth=GroundTruth(torch.zeros(2, 3)))
