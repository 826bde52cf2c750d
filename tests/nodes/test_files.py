"""Files of artifacts: names and contents as artifacts that exist have them, whoever reads the tensors."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file

from mibench.nodes.classifier import ClassifierFiles
from mibench.nodes.data import DataFiles, StoredImages
from mibench.nodes.files import Evidence, Files
from mibench.nodes.gold import GoldFiles
from mibench.nodes.measure import MeasureFiles
from mibench.nodes.prior import PriorFiles
from mibench.nodes.reconstruct import ReconstructFiles, ReconstructWork, evaluator_role


def test_files_have_the_names_that_stores_hold(tmp_path):
    names = {
        DataFiles(tmp_path).images: "images.safetensors",
        PriorFiles(tmp_path).weights: "weights.safetensors",
        ClassifierFiles(tmp_path).weights: "weights.safetensors",
        ClassifierFiles(tmp_path).extras: "extras.safetensors",
        GoldFiles(tmp_path).evidence: "evidence.safetensors",
        ReconstructFiles(tmp_path).evidence: "evidence.safetensors",
        ReconstructWork(tmp_path).shared: "shared.json",
        ReconstructWork(tmp_path).images(7): "class_00007.safetensors",
        ReconstructWork(tmp_path).info(12345): "class_12345.json",
    }
    assert {path: path.name for path in names} == names


@pytest.mark.parametrize("load", [load_torch, load_numpy])
def test_images_are_read_by_torch_and_by_numpy(tmp_path, load):
    pixels = torch.arange(2 * 3, dtype=torch.uint8).reshape(2, 1, 1, 3)
    whole = StoredImages(torch.tensor(2), pixels, torch.tensor([0, 1]))
    save_file(whole.tensors(), DataFiles(tmp_path).images)
    found = DataFiles(tmp_path).read_images(load)
    assert np.asarray(found.pixels).tolist() == pixels.tolist()
    assert np.asarray(found.labels).tolist() == [0, 1]
    assert int(found.classes) == 2


def test_images_that_stay_with_their_dataset_are_none(tmp_path):
    save_file(StoredImages(torch.tensor(5)).tensors(), DataFiles(tmp_path).images)
    found = DataFiles(tmp_path).read_images(load_torch)
    assert (int(found.classes), found.pixels, found.labels) == (5, None, None)
    assert list(load_torch(DataFiles(tmp_path).images)) == ["classes"]


@pytest.mark.parametrize("files", [GoldFiles, ReconstructFiles])
def test_evidence_is_one_file_with_three_tensors(tmp_path, files):
    made = Evidence(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([1, 0]), torch.tensor([0.5, 0.25]))
    save_file(made.tensors(), files(tmp_path).evidence)
    assert sorted(load_torch(tmp_path / "evidence.safetensors")) == ["labels", "pixels", "scores"]
    found = files(tmp_path).read_evidence(load_numpy)
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.pixels.shape == (2, 1, 4, 4)


def test_json_files_have_the_bytes_that_artifacts_have(tmp_path):
    files = ReconstructFiles(tmp_path)
    files.write_ledger({"total": {"forward": 2}, "failed": {"10": "no", "9": "no"}})
    files.write_trace({"0": {"loss": [1.0, None]}})
    MeasureFiles(tmp_path).write("leakage", [{"name": "a", "value": 0.5}])
    PriorFiles(tmp_path).write_report({"steps": 3, "images": 2})
    assert (tmp_path / "ledger.json").read_bytes() == (
        b'{"failed": {"10": "no", "9": "no"}, "total": {"forward": 2}}\n'
    )
    assert (tmp_path / "trace.json").read_bytes() == b'{"0": {"loss": [1.0, null]}}\n'
    assert (tmp_path / "measurements.json").read_bytes() == (
        b'{\n "group": "leakage",\n "measurements": [\n  {\n   "name": "a",\n   "value": 0.5\n  }\n ]\n}\n'
    )
    assert (tmp_path / "report.json").read_bytes() == b'{\n "images": 2,\n "steps": 3\n}\n'


def test_the_unit_of_a_ground_truth_lies_beside_its_values(tmp_path):
    DataFiles(tmp_path).write_unit("mm")
    assert (tmp_path / "truth.json").read_bytes() == b'{"unit": "mm"}\n'
    assert DataFiles(tmp_path).unit() == "mm"


def test_failed_classes_are_numbers_in_their_order(tmp_path):
    files = ReconstructFiles(tmp_path)
    files.write_ledger({"failed": {"10": "no", "9": "no"}})
    assert files.failed() == [9, 10]
    files.write_ledger({"total": {}})
    assert files.failed() == []


def test_what_a_priors_training_asked_is_none_where_it_asked_nothing(tmp_path):
    files = PriorFiles(tmp_path)
    files.write_report({"images": 2})
    assert files.spent() is None
    files.write_report({"images": 2, "spent": {"forward": 3}})
    assert files.spent() == {"forward": 3}


def test_a_classifiers_report_holds_the_verdict_of_its_defense(tmp_path):
    verdict = {"active": True, "signals": {"noise": 0.5}, "reason": ""}
    ClassifierFiles(tmp_path).write_report({"self_check": verdict, "history": []})
    assert ClassifierFiles(tmp_path).self_check() == verdict
    assert json.loads((tmp_path / "report.json").read_text()) == {"self_check": verdict, "history": []}


def test_a_number_that_is_not_finite_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        Files(tmp_path).write_json("x.json", {"loss": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_a_judge_has_the_role_that_records_state():
    assert evaluator_role("small-resnet") == "evaluator:small-resnet"


def test_measurements_come_back_as_they_were_written(tmp_path):
    rows = [{"name": "a", "value": 0.5, "per_class": [None, 1.0]}, {"name": "ä", "value": 1e-300}]
    MeasureFiles(tmp_path).write("utility", rows)
    assert MeasureFiles(tmp_path).measured() == {"group": "utility", "measurements": rows}


def test_ledger_and_trace_come_back_as_they_were_written(tmp_path):
    files, trace = ReconstructFiles(tmp_path), {"0": {"loss": [1.0, None]}, "1": {}}
    files.write_ledger({"total": {"forward": 2}})
    files.write_trace(trace)
    assert (files.ledger(), files.trace()) == ({"total": {"forward": 2}}, trace)


def test_the_same_value_has_the_same_bytes_in_any_order(tmp_path):
    files = Files(tmp_path)
    for name, value in (("a.json", {"x": 1, "y": {"b": 2, "a": 3}}), ("b.json", {"y": {"a": 3, "b": 2}, "x": 1})):
        files.write_json(name, value)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("label", [0, 99_999, 123_456])
def test_checkpoints_of_classes_have_names_of_their_own(tmp_path, label):
    work = ReconstructWork(tmp_path)
    assert work.images(label).parent == work.info(label).parent == work.shared.parent == tmp_path
    assert work.images(label).name == f"class_{label:0>5}.safetensors"
    assert work.info(label).name == f"class_{label:0>5}.json"


def test_labels_may_be_stored_without_pixels():
    """Each tensor stands for itself; what is absent is left out."""
    assert StoredImages(1, labels=3).tensors() == {"classes": 1, "labels": 3}
    assert StoredImages(1, 2, 3).tensors() == {"classes": 1, "pixels": 2, "labels": 3}
    assert StoredImages(0).tensors() == {"classes": 0}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        PriorFiles(tmp_path).report()
