"""A declared change is compared with the two files: it may be stricter than what differs, never milder."""

from __future__ import annotations

import re
from typing import Any

import pytest
from record_factory import PROTOCOL_TEXT

from mibench.api.errors import UsageError
from mibench.protocol.changes import declared, differences, mildest
from mibench.protocol.load import LoadedProtocol, parse_protocol

OLD = parse_protocol(PROTOCOL_TEXT)


def newer(*edits: tuple[str, str], change: str = "", version: str = "1.1", of: str = "tiny@1.0") -> LoadedProtocol:
    text = PROTOCOL_TEXT.replace('"1.0"', f'"{version}"')
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    return parse_protocol(text + (f"follows: {{protocol: {of}, change: {change}, why: because}}\n" if change else ""))


CLASSES: dict[str, list[Any]] = {
    "cosmetic": [
        (),
        (("a protocol for tests", "other words"),),
        (("seeds: [0, 1, 2]", "seeds: [0, 1, 2, 3]"),),
        (("undefended:", "suite: [ppa]\nundefended:"),),
        (("priors:", "  gmi: {name: gmi}\npriors:"),),
        (("headline:", "expected_seconds: {target: 7}\nheadline:"),),
        (("headline:", "presets: {attack: {ppa: small}}\nheadline:"),),
        (("headline:", "validation: {split: {private_from: back}}\nheadline:"),),
    ],
    "regradable": [
        (("{name: accuracy}", "{name: accuracy}, {name: identity-bits}"),),
        (("{name: accuracy}", "{name: accuracy, params: {k: 5}}"),),
        (("headline: reid@1", "headline: reid@5"),),
        (("{name: judge}", "{name: other-judge}"),),
        (("headline:", "gallery: {images: train}\nheadline:"),),
        (
            (
                "evaluators: []",
                "evaluators: [{name: n, model: {name: m}, recipe: {epochs: 1, batch: 8, lr: 0.1}, seed: 9}]",
            ),
        ),
    ],
    "rerun": [
        (("seeds: [0, 1, 2]", "seeds: [0, 1]"),),
        (("steps: 5", "steps: 6"),),
        (("width: 8", "width: 9"),),
        (("private: 12", "private: 13"),),
        (("tiny-data", "other-data"),),
        (("epochs: 1", "epochs: 2"),),
        (("name: pca", "name: other"),),
        (("{name: random}", "{name: other}"),),
        (("size: 16", "size: 32"),),
        (("headline:", "budget: {forward: 5}\nheadline:"),),
        (("headline:", "folds: 2\nheadline:"),),
        (("headline:", "lookalike: {name: nearest}\nheadline:"),),
    ],
}
CASES = [(change, edits) for change, cases in CLASSES.items() for edits in cases]


@pytest.mark.parametrize(("change", "edits"), CASES)
def test_each_difference_has_its_class(change: str, edits: tuple[tuple[str, str], ...]) -> None:
    assert mildest(differences(OLD, newer(*edits))) == change


@pytest.mark.parametrize(("change", "edits"), [case for case in CASES if case[1]])
@pytest.mark.parametrize("stated", CLASSES)
def test_a_milder_declaration_is_refused(change: str, edits: tuple[tuple[str, str], ...], stated: str) -> None:
    order = list(CLASSES)
    made = newer(*edits, change=stated, version="2.0")
    if order.index(stated) >= order.index(change):
        assert declared(OLD, made)[0].change == stated
    else:
        with pytest.raises(UsageError, match=f"declares its change as {stated}.*Declare it as {change}"):
            declared(OLD, made)


def test_the_refusal_names_the_fields_and_their_values() -> None:
    wrong = newer(("epochs: 1", "epochs: 2"), ("headline: reid@1", "headline: reid@5"), change="cosmetic")
    told = "differs from tiny@1.0 in recipe.epochs (rerun: 1 before, 2 now); headline (regradable: reid@1 before,"
    with pytest.raises(UsageError, match=re.escape(told)):
        declared(OLD, wrong)


def test_a_new_metric_is_named_and_an_order_is_no_difference() -> None:
    text = "metrics: [{name: accuracy}"
    [found] = differences(OLD, newer((text, text + ", {name: identity-bits}")))
    assert (found.field, found.before, found.change) == ("metrics.identity-bits", None, "regradable")
    two = [f"metrics: [{one}]" for one in ("{name: b}, {name: accuracy}", "{name: accuracy}, {name: b}")]
    old, new = (
        newer(("metrics: [{name: accuracy}]", order), version=at) for order, at in zip(two, ("1.0", "1.1"), strict=True)
    )
    assert differences(old, new) == []


def test_what_declares_nothing_is_told_what_to_write() -> None:
    needed = re.escape("its file needs follows: {protocol: tiny@1.0, change: rerun, why: ...}")
    with pytest.raises(UsageError, match=needed):
        declared(OLD, newer(("epochs: 1", "epochs: 2")))


def test_versions_are_followed_one_by_one() -> None:
    with pytest.raises(UsageError, match=r"tiny@1\.2 follows tiny@1\.1, not tiny@1\.0; migrate version by version"):
        declared(OLD, newer(change="cosmetic", version="1.2", of="tiny@1.1"))


def test_a_rerun_is_a_major_version() -> None:
    with pytest.raises(UsageError, match=r"its major version must be higher, 2\.0"):
        declared(OLD, newer(("epochs: 1", "epochs: 2"), change="rerun"))


@pytest.mark.parametrize("of", ["tiny@1.1", "tiny@2.0", "other@1.0"])
def test_only_an_older_version_of_the_same_protocol_is_followed(of: str) -> None:
    with pytest.raises(UsageError, match="expected an older version of 'tiny'"):
        newer(change="cosmetic", of=of)


def test_a_declaration_changes_no_digest() -> None:
    assert newer(change="cosmetic").digest == newer().digest
