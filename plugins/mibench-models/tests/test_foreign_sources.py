"""Where a user's network comes from: modules that are found, files that are read, functions that are called."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mibench_models.foreign.assembling import load_weights
from mibench_models.foreign.feed import Feed
from mibench_models.foreign.sources import check_code, find_function, import_module, make_network
from torch import nn

from mibench.api import DataError, UsageError, sha256_of_file


@pytest.fixture()
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arch", ["resnet18", "inception_v3", "googlenet", "mobilenet_v3_small"])
def test_torchvision_makes_its_networks_with_this_many_classes(arch: str) -> None:
    net = make_network(f"torchvision:{arch}", "none", 7, 3)
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    assert linear[-1].out_features == 7
    assert type(net).__module__.startswith("torchvision.models.")
    assert not any("aux" in name.lower() for name, _ in net.named_parameters())


def test_a_module_in_the_present_folder_is_found_and_the_path_left_as_it_was(here: Path) -> None:
    (here / "my_nets_of_today.py").write_text("from torch import nn\ndef small():\n    return nn.Linear(2, 3)\n")
    before = list(sys.path)
    net = make_network("my_nets_of_today:small", "none", 3, 3)
    assert isinstance(net, nn.Linear)
    assert sys.path == before


def test_a_folder_does_not_hide_what_is_installed(here: Path) -> None:
    (here / "json.py").write_text("raise SystemExit('the wrong json')")
    sys.modules.pop("json.tool", None)
    assert "JSON" in str(import_module("json.tool", "none").__doc__)


def test_a_module_that_fails_leaves_the_path_as_it_was(here: Path) -> None:
    (here / "fails_to_import.py").write_text("import a_package_that_nobody_has\n")
    before = list(sys.path)
    with pytest.raises(DataError, match=r"'fails_to_import' cannot be imported \(ModuleNotFoundError: No module"):
        import_module("fails_to_import", "none")
    assert sys.path == before


def test_a_file_may_define_dataclasses_and_lie_anywhere(tmp_path: Path) -> None:
    place = tmp_path / "a folder" / "nets.py"
    place.parent.mkdir()
    place.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Made:\n    classes: int\n\n"
        "def make(num_classes: int) -> Made:\n    return Made(num_classes)\n"
    )
    made = find_function("nets_in_a_folder:make", str(place))(num_classes=4)
    assert made.classes == 4
    with pytest.raises(DataError, match=r"nothing\.py"):
        import_module("nothing", str(tmp_path / "nothing.py"))
    (tmp_path / "text.txt").write_text("no code")
    with pytest.raises(DataError, match="is no Python file"):
        import_module("text", str(tmp_path / "text.txt"))


@pytest.mark.parametrize("source", ["", "module", "module:", ":function", "a b:c", "1module:f", "a..b:f"])
def test_what_names_no_function_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match=r"expected PACKAGE\.MODULE:FUNCTION"):
        find_function(source, "none")


def test_what_is_no_function_is_refused_with_those_that_are(here: Path) -> None:
    (here / "names_of_today.py").write_text("size = 3\ndef resnet():\n    return None\n")
    with pytest.raises(UsageError, match="resnet"):
        find_function("names_of_today:resnte", "none")
    with pytest.raises(UsageError, match="function in"):
        find_function("names_of_today:size", "none")


def test_code_that_is_imported_by_name_is_compared_byte_by_byte(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    file = here / "compared_today.py"
    file.write_text("x = 1\n")
    was = sha256_of_file(file)
    check_code("compared_today", "none", was)
    file.write_text("x = 2\n")
    with pytest.raises(DataError, match=f"has changed since the audit began: it has sha256 .*expected {was[:12]}"):
        check_code("compared_today", "none", was)
    check_code("compared_today", "none", "")  # nothing was stated
    check_code("compared_today", str(file), was)  # the file's own digest is the component's to check


def test_weights_of_another_number_of_classes_are_told_from_weights_of_another_network() -> None:
    net, other = nn.Linear(4, 5), nn.Linear(4, 7)
    with pytest.raises(UsageError, match="the network has 7 classes, and 5 classes have a folder"):
        load_weights(net, other.state_dict(), 5)
    with pytest.raises(DataError, match="do not fit"):
        load_weights(net, nn.Linear(3, 5).state_dict(), 5)


@pytest.mark.parametrize(
    ("feed", "mean", "std"),
    [
        (Feed(), [0, 0, 0], [1, 1, 1]),
        (Feed(mean=(0.5,), std=(0.25,)), [0.5] * 3, [0.25] * 3),
        (Feed(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), channel_order="bgr"), [0.3, 0.2, 0.1], [0.6, 0.5, 0.4]),
        (Feed(mean=(0.1, 0.2, 0.3)), [0.1, 0.2, 0.3], [1, 1, 1]),
        (Feed(channels=1, std=(1 / 255,)), [0], [1 / 255]),
    ],
)
def test_mean_and_deviation_of_each_channel_red_first(feed: Feed, mean: list[float], std: list[float]) -> None:
    assert feed.normalisation("mynet:net") == (pytest.approx(mean), pytest.approx(std))
