"""A parameter that names a file stands for the file's bytes, in keys and in records."""

import hashlib

import pytest

from mibench.api import UsageError
from mibench.plan.cells import expand
from mibench.protocol.request import Request
from mibench.registry.files import digest_of_path, locate


def _target(registry, path, **fields):
    settings = {"filed.scale": str(path)} if path else {}
    request = Request(
        protocols=("toy",), attacks=("guess",), defenses=("plain",), models=("filed",), settings=settings, **fields
    )
    return expand(request, registry)[0].target


@pytest.fixture()
def weights(tmp_path):
    file = tmp_path / "weights.txt"
    file.write_text("1.0")
    return file


def test_other_bytes_under_the_same_name_are_another_key(toy_registry, weights):
    before = _target(toy_registry, weights)
    weights.write_text("0.5")
    assert _target(toy_registry, weights).key != before.key


def test_the_same_bytes_elsewhere_are_the_same_key(toy_registry, weights, tmp_path, monkeypatch):
    key = _target(toy_registry, weights).key
    other = tmp_path / "folder"
    other.mkdir()
    (other / "copy.txt").write_text("1.0")
    assert _target(toy_registry, other / "copy.txt").key == key
    monkeypatch.chdir(tmp_path)
    assert _target(toy_registry, "weights.txt").key == key
    (other / "weights.txt").write_text("2.0")
    monkeypatch.chdir(other)
    assert _target(toy_registry, "weights.txt").key != key


def test_keys_hold_no_path_and_nodes_say_where_the_file_lies(toy_registry, weights):
    node = _target(toy_registry, weights)
    expected = "sha256:" + hashlib.sha256(b"1.0").hexdigest()
    assert node.payload["model"]["params"]["scale"] == expected
    assert str(weights.parent) not in str(node.payload)
    assert node.to_json()["files"][expected] == str(weights)


def test_no_file_leaves_keys_as_they_were(toy_registry):
    assert _target(toy_registry, None).payload["model"]["params"]["scale"] == "none"


def test_a_file_that_is_not_there_is_refused_while_planning(toy_registry, tmp_path):
    with pytest.raises(UsageError, match=r"scale = '.*gone.txt' does not exist"):
        _target(toy_registry, tmp_path / "gone.txt")


def test_a_folder_counts_with_names_and_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x.bin").write_bytes(b"same")
    assert digest_of_path(tmp_path / "a") == digest_of_path(tmp_path / "b")
    (tmp_path / "b" / ".DS_Store").write_bytes(b"left by a system")
    assert digest_of_path(tmp_path / "a") == digest_of_path(tmp_path / "b")
    (tmp_path / "b" / "deep" / "x.bin").rename(tmp_path / "b" / "deep" / "y.bin")
    assert digest_of_path(tmp_path / "a") != digest_of_path(tmp_path / "b")


def test_a_file_that_changes_after_the_plan_is_noticed(weights):
    found = digest_of_path(weights)
    assert locate(found, {found: str(weights)}) == str(weights)
    weights.write_text("0.5")
    with pytest.raises(UsageError, match="has changed since"):
        locate(found, {found: str(weights)})
    with pytest.raises(UsageError, match="is not known here"):
        locate(found, {})


def test_every_run_uses_the_bytes_that_are_there(toy_run, weights):
    models = {"models": ("filed",), "settings": {"filed.scale": str(weights)}}
    first = toy_run(**models).records[0]
    assert toy_run(**models).planned.to_run == []
    weights.write_text("0.25")
    second = toy_run(**models).records[0]
    assert first.components["model"].params["scale"] == "sha256:" + hashlib.sha256(b"1.0").hexdigest()
    assert second.components["model"].params["scale"] == "sha256:" + hashlib.sha256(b"0.25").hexdigest()
    assert first.inputs["target"] != second.inputs["target"]
    assert str(weights) in second.command


@pytest.mark.parametrize(
    ("kind", "name", "parameter"),
    [
        ("model", "torchvision", "weights"),
        ("prior", "stylegan2-file", "folder"),
        ("attack", "ppdg-mi", "perceptual_weights"),
    ],
)
def test_all_paths_of_the_first_plugins_are_marked(kind, name, parameter):
    from mibench.api.params import file_parameters
    from mibench.registry.registry import load_registry

    assert parameter in file_parameters(load_registry().component(kind, name))


def test_nothing_that_is_called_like_a_path_lacks_the_mark():
    from mibench.api.params import describe, file_parameters
    from mibench.registry.registry import load_registry

    registry, bare = load_registry(), []
    inside_a_network = {"defense tl-dmi.freeze_until"}
    for kind in ("dataset", "model", "prior", "defense", "attack", "metric"):
        for entry in registry.entries(kind):
            component = registry.component(kind, entry.name)
            marked = file_parameters(component)
            bare += [
                f"{kind} {entry.name}.{row.name}"
                for row in describe(component)
                if row.key not in marked
                and any(w in row.doc.lower() for w in ("path of", "folder ", "file that holds"))
            ]
    assert set(bare) <= inside_a_network
