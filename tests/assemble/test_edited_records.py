"""Published records, edited and sealed again: a board finds every edit, although the digest fits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mibench.assemble.recheck import Recheck
from mibench.leaderboard import RefusedError, add_records
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.registry.registry import load_registry
from mibench.results.flags import compute_flags
from mibench.results.intervals import class_interval
from mibench.results.io import save_record, seal, verify_digest
from mibench.results.normalize import record_leakage
from mibench.results.record import Record

BOARDS = Path(__file__).parents[2] / "leaderboards"
TEXT = (BOARDS / "orl64" / "1.0" / "protocol.yaml").read_text(encoding="utf-8")
Raw = dict[str, Any]


@cache
def recheck() -> Recheck:
    return Recheck(load_registry())


@cache
def protocol() -> LoadedProtocol:
    return parse_protocol(TEXT)


def entry(defense: str, attack: str) -> Raw:
    [path] = (BOARDS / "orl64" / "1.0" / "entries" / defense).glob(f"*-smallcnn-{defense}-{attack}-s0-*.json")
    raw: Raw = json.loads(path.read_text(encoding="utf-8"))
    return raw


def constant(metric: Raw, value: float) -> None:
    metric["value"], metric["per_class"] = value, [value] * len(metric["per_class"])
    metric["ci95"] = list(class_interval(metric["per_class"]) or ())


def value_beside_its_classes(raw: Raw) -> None:
    raw["metrics"]["reid@1"]["value"] = 0.0


def values_beside_their_ranks(raw: Raw) -> None:
    for name in ("reid@1", "reid@5"):
        constant(raw["metrics"][name], 0.0)


def a_lower_judge(raw: Raw) -> None:
    constant(raw["metrics"]["attack_acc@5/resnet"], 0.9)


def images(raw: Raw) -> None:
    for metric in raw["metrics"].values():
        metric["n"] = 10**9


def one_count(raw: Raw) -> None:
    raw["metrics"]["target_conf"]["n"] = 121


def heldout_images(raw: Raw) -> None:
    raw["metrics"]["accuracy"]["n"] = 6000


def direction(raw: Raw) -> None:
    for metrics in (raw["metrics"], *raw["controls"].values()):
        metrics["reid@1"]["higher_is_better"] = True


def in_another_unit(raw: Raw, column: str) -> None:
    for metrics in (raw["metrics"], *raw["controls"].values()):
        metrics[column]["unit"] = "score"


def another_scale(raw: Raw) -> None:
    in_another_unit(raw, "reid_cosine")
    constant(raw["metrics"]["reid_cosine"], -5.0)


def another_unit(raw: Raw) -> None:
    in_another_unit(raw, "reid@1")
    raw["metrics"]["reid@1"]["details"] = {}
    constant(raw["metrics"]["reid@1"], -5.0)


def interval(raw: Raw) -> None:
    low, high = raw["metrics"]["reid@1"]["ci95"]
    raw["metrics"]["reid@1"]["ci95"] = [low - 0.04, high - 0.04]


def radius(raw: Raw) -> None:
    raw["metrics"]["robust_acc@0.25"]["details"]["eps"] = 16 / 255


def attack_params(raw: Raw) -> None:
    raw["components"]["attack"]["params"] = {"lr": 0.2, "truncation": 1.0}


def renamed(raw: Raw) -> None:
    raw["cell"]["defense"] = raw["components"]["defense"]["name"] = "none"


def renamed_with_its_control(raw: Raw) -> None:
    renamed(raw)
    raw["controls"]["undefended"] = {
        name: metric for name, metric in raw["metrics"].items() if metric["group"] == "leakage"
    }


def few_components(raw: Raw) -> None:
    raw["components"] = {role: raw["components"][role] for role in ("attack", "defense")}


def no_column(raw: Raw) -> None:
    for metrics in (raw["metrics"], *raw["controls"].values()):
        metrics.pop("target_conf", None)


def a_new_column(raw: Raw) -> None:
    raw["metrics"]["reid@1/mine"] = raw["metrics"]["reid@1"]


def setting(path: str, value: Any) -> Callable[[Raw], None]:
    def edit(raw: Raw) -> None:
        *folders, last = path.split("/")
        place = raw
        for name in folders:
            place = place[name]
        place[last] = value

    edit.__name__ = f"{path}={value}"
    return edit


EDITS: list[tuple[Callable[[Raw], None], str]] = [
    # what boards accepted
    (value_beside_its_classes, r"MB607 metrics\.reid@1\.value: expected 0\.15 .*, got 0\.0;"),
    (values_beside_their_ranks, r"MB608 metrics\.reid@1\.value: expected 0\.15 of its ranks.*, got 0\.0;"),
    (setting("self_check", {}), r"MB109 self_check\.active: expected true or false.*, got None;"),
    (direction, r"MB614 metrics\.reid@1\.higher_is_better: expected False, got True;"),
    (another_unit, r"MB614 metrics\.reid@1\.unit: expected fraction, got score;"),
    (another_scale, r"MB614 metrics\.reid_cosine: expected values from -1\.0 to 1\.0, got -5\.0;"),
    (images, r"MB608 metrics\.reid@1\.n: expected 120, .*got 1000000000;"),
    (setting("inputs", {}), r"MB106 inputs\.data: expected the sha256 of an artifact, got nothing;"),
    (setting("ledger", {}), r"MB108 ledger\.per_class: expected queries of 20 classes, got nothing;"),
    (setting("classes", {}), r"MB107 classes: expected 20 classes, 0 to 19, got 0 "),
    (few_components, r"MB105 components\.dataset: expected dataset orl, got nothing;"),
    (attack_params, r"MB111 components\.attack\.params\.batch: expected 25, got nothing;"),
    (setting("components/attack/params/steps", 0), r"MB111 components\.attack\.params\.steps: expected 50, got 0;"),
    (setting("components/attack/version", "999"), r"MB112 components\.attack\.version: expected 1, .*got 999;"),
    (setting("components/attack/baseline", True), r"MB111 components\.attack\.baseline: expected False, got True;"),
    (setting("cell/key", "0" * 64), r"MB202 cell\.key: expected a sha256 .*, got 0{64};"),
    (renamed, r"MB612 controls\.undefended\.reid@1: expected the cell's own 0\.15, got "),
    (renamed_with_its_control, r"MB111 components\.defense\.params: .*no defense has 'batchnorm'"),
    # their neighbours
    (interval, r"MB606 metrics\.reid@1\.ci95: expected .*, got "),
    (a_lower_judge, r"MB609 metrics\.attack_acc@5\.value: expected 0\.95, .*, got 1\.0;"),
    (one_count, r"MB614 metrics\.target_conf\.n: expected 120 .*, got 121;"),
    (heldout_images, r"MB610 metrics\.accuracy\.n: expected the 60 test images .*, got 6000;"),
    (radius, r"MB611 metrics\.robust_acc@0\.25\.details\.eps: expected 0\.00098.*, got 0\.06"),
    (no_column, r"MB614 metrics\.target_conf: expected what the metric 'target-confidence' measured, got nothing;"),
    (a_new_column, r"MB614 metrics\.reid@1/mine: expected a column that a metric of the protocol reports, got "),
    (setting("cell/key", "0123456789abcdef" * 4), r"MB205 cell\.key: expected 8b6326ed.*, got 0123456789abcdef"),
    (setting("components/defense/params/lam", 0.0), r"MB111 components\.defense\.overridden: expected True, got False"),
    (setting("components/defense/params/lam", 50.0), r"MB111 components\.defense\.overridden"),
    (setting("components/defense/params/mine", 1), r"MB111 components\.defense\.params: .*no defense has 'mine'"),
    (
        setting("components/attack/access", "labels"),
        r"MB111 components\.attack\.access: expected white-box, got l",
    ),
    (setting("components/attack/licence", "GPL-3.0"), r"MB111 components\.attack\.licence: expected MIT, got GPL"),
    (setting("components/prior/params/components", 5), r"MB111 components\.prior\.params\.components: expected 100"),
    (setting("components/embedder/name", "mine"), r"MB105 components\.embedder\.name: expected sface, got mine;"),
    (setting("classes/0", 1), r"MB107 classes: expected the protocol's identities .*"),
    (setting("ledger/total/forward", 1), r"MB108 ledger\.total: expected the sum .*, got .*'forward': 1,"),
    (setting("ledger/budget", {"forward": 1, "backward": 1}), r"MB108 ledger\.budget: expected the protocol's"),
    (setting("flags", [{"id": "hello", "text": "hello"}]), r"MB110 flags: expected none, got hello;"),
    (setting("inputs/target", "f" * 64), r"MB106 inputs\.target"),
]


def refusal(raw: Raw, folder: Path, *, flags: bool = True) -> str:
    """Compute again what follows from an edit, seal the record, and offer it to an empty board."""
    record = Record.model_validate_json(json.dumps(raw))
    computed = {"normalized_leakage": record_leakage(record)} | ({"flags": compute_flags(record)} if flags else {})
    record = seal(record.model_copy(update=computed))
    assert verify_digest(record)
    path = save_record(record, folder / "run")
    with pytest.raises(RefusedError) as caught:
        add_records([path], folder / "boards", {"orl64@1.0": TEXT}, recheck().findings)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("edit", "expected"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_an_edit_is_found_although_the_record_was_sealed_again(
    edit: Callable[[Raw], None], expected: str, tmp_path: Path
) -> None:
    raw = entry("atat", "ppa")
    edit(raw)
    assert re.search(expected, refusal(raw, tmp_path, flags="flags" not in edit.__name__))


def test_flags_cannot_be_left_out(tmp_path: Path) -> None:
    raw = entry("smoothing", "ppa")
    assert raw["flags"]
    raw["flags"] = []
    assert "MB110 flags: expected outside-threat-model" in refusal(raw, tmp_path, flags=False)


def test_what_was_not_edited_is_accepted(tmp_path: Path) -> None:
    record = Record.model_validate_json(json.dumps(entry("atat", "ppa")))
    path = save_record(record, tmp_path / "run")
    [written] = add_records([path], tmp_path / "boards", {"orl64@1.0": TEXT}, recheck().findings)
    assert written.is_file()
    assert recheck().verdict(record, protocol()).reported == []


def test_a_board_that_keeps_older_presets_says_so(tmp_path: Path) -> None:
    older = TEXT + "presets: {defense: {loft: {rank: 9}}}\n"
    [path] = (BOARDS / "orl64" / "1.0" / "entries" / "loft").glob("*-loft-ppa-s0-*.json")
    told = r"MB111 components\.defense\.overridden: .*, or let the board's protocol\.yaml take over the presets of"
    with pytest.raises(RefusedError, match=told):
        add_records([path], tmp_path / "boards", {"orl64@1.0": older}, recheck().findings)
