"""Protocols by name and from files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_plugin import PROTOCOL

from mibench.api import PluginError, ProtocolSpec, UsageError
from mibench.protocol.load import load_protocol, merge, parse_protocol


def _finder(**fields):
    spec = ProtocolSpec(**{"name": "toy", "file": "fake_plugin:toy.yaml", "summary": "", "version": "1.0", **fields})
    entry = SimpleNamespace(spec=spec, name=spec.asked_as)
    return SimpleNamespace(get=lambda kind, name: entry, entries=lambda kind: [entry])


def test_by_name_and_from_a_file_it_is_the_same_protocol():
    named = load_protocol(_finder(file="fake_plugin:toy.yaml"), "toy@1.0")
    filed = load_protocol(_finder(), str(PROTOCOL))
    assert named.digest == filed.digest
    assert (named.requested, filed.requested) == ("toy@1.0", str(PROTOCOL))


@pytest.mark.parametrize("fields", [{"version": "1.1"}, {"name": "other"}])
def test_a_plugin_cannot_announce_another_protocol_than_it_ships(fields):
    with pytest.raises(PluginError, match=r"the file is toy@1\.0"):
        load_protocol(_finder(file="fake_plugin:toy.yaml", **fields), fields.get("name", "toy"))


@pytest.mark.parametrize(
    "file", ["no_such_package:toy.yaml", "fake_plugin:no-such.yaml", "fake_plugin:.", "fake_plugin:../conftest.py", ""]
)
def test_a_file_that_is_in_no_installed_package_is_named(file):
    with pytest.raises(PluginError, match=f"'toy' names the file '{file}'; expected 'package:path'"):
        load_protocol(_finder(file=file), "toy")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds:", "sedes:", "sedes: Extra inputs"),
        ("private: 3", "private: 1", "split.private: .*greater than or equal to 2"),
        ('version: "1.0"', 'version: "1"', "version"),
        ("name: toy", "name: [", "not valid YAML"),
        ("size: 16", "size: big", "image.size"),
    ],
)
def test_a_wrong_file_says_where(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_protocol(PROTOCOL.read_text().replace(old, new), source="toy.yaml")


def test_the_digest_ignores_layout_and_estimates_but_no_setting():
    text = PROTOCOL.read_text()
    base = parse_protocol(text).digest
    assert parse_protocol("# a comment\n" + text).digest == base
    assert parse_protocol(text.replace("target: 7", "target: 8")).digest == base
    assert parse_protocol(text.replace("epochs: 5", "epochs: 6")).digest != base
    assert parse_protocol(text, "validation").digest != base


def test_merge_overrides_key_by_key():
    merged = merge({"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 3}, {"a": {"y": 5}, "b": [9]})
    assert merged == {"a": {"x": 1, "y": 5}, "b": [9], "c": 3}


def _patched(old, new):
    text = PROTOCOL.read_text()
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr: 0.01,", "lr: .inf,", "recipe.lr: expected a finite number, got inf"),
        ("lr: 0.01,", "lr: yes,", "recipe.lr: .*unable to parse string as a number"),
        ("lr: 0.01,", "lr: true,", "recipe.lr = True: a boolean is no number"),
        ("epochs: 5", "epochs: 5.0", "recipe.epochs = 5.0: expected a whole number"),
        ("seeds: [3, 4]", "seeds: [010, 1:30, yes]", "'010' begins with a zero"),
        ("seeds: [3, 4]", "seeds: [1:30]", "seeds.0: .*unable to parse string as an integer"),
        ("seeds: [3, 4]", "seeds: [yes]", "seeds.0: .*unable to parse string as an integer"),
        ("seeds: [3, 4]", "seeds: [true]", "seeds.0 = True: a boolean is no number"),
        ("seeds: [3, 4]", "seeds: []", "seeds: .*at least 1 item"),
        ("name: toy", "name: toy\nname: other", "the key 'name' is given twice, first in line 1"),
        ("params: {images: 2}", "params: {images: .nan}", "attacks.guess.params.images: expected a finite number"),
        ("validation: {split: {private_from: back}}", "validation:", "validation: .*valid dictionary"),
        ("flip: 0.5", "flip: 0.5, crop_scale: [1.0, 0.5]", "the key 'crop_scale' is given twice|smaller number first"),
        ("guess: {name: guess", "guess: {name: pool", "what stands under 'guess' is named 'pool'"),
        ("{name: match}, ", "{name: match}, {name: match}, ", "metrics: .*'match' is given twice"),
        ("epochs: 5,", "epochs: 5, betas: [0.9, 1.5],", "recipe.betas.1: .*less than 1"),
        ("epochs: 5,", "epochs: 5, momentum: -1.0,", "recipe.momentum: .*greater than or equal to 0"),
        ("epochs: 5,", "epochs: 5, milestones: [3.0],", "recipe.milestones.0: .*less than or equal to 1"),
    ],
)
@pytest.mark.parametrize("variant", ["test", "validation"])
def test_a_protocol_holds_no_number_that_it_does_not_mean(old, new, message, variant):
    with pytest.raises(UsageError, match=message):
        parse_protocol(_patched(old, new), variant, source="toy.yaml")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Toy", "a\\nb", "toy\\n", "-toy", "a b", "t" * 65])
def test_a_name_is_one_that_boards_can_have(name):
    with pytest.raises(UsageError, match=r"name: .*expected up to 64 lower-case letters.*, got"):
        parse_protocol(_patched("name: toy\n", f'name: "{name}"\n'), source="toy.yaml")


@pytest.mark.parametrize(
    "version", ["", "1", "01.0", "1.00", "1.00000000", "1.0.0", "١.٠", "1.0\\n", " 1.0", "1000000.0"]
)
def test_a_version_is_written_in_one_way(version):
    with pytest.raises(UsageError, match=r"version: .*expected a version like '1.0'.*, got"):
        parse_protocol(_patched('version: "1.0"', f'version: "{version}"'), source="toy.yaml")


@pytest.mark.parametrize("version", ["0.0", "0.1", "10.20", "999999.999999"])
def test_versions_may_be_any_numbers(version):
    assert parse_protocol(_patched('version: "1.0"', f'version: "{version}"')).id == f"toy@{version}"


@pytest.mark.parametrize("older", ["toy@00.9", "toy", "toy@٠.٩", "../toy@0.9"])
def test_what_a_version_follows_is_named_in_the_same_way(older):
    follows = f'follows: {{protocol: "{older}", change: rerun, why: better}}\n'
    with pytest.raises(UsageError, match=r"follows.protocol: .*expected a protocol like 'orl64@1.0', got"):
        parse_protocol(PROTOCOL.read_text() + follows, source="toy.yaml")


@pytest.mark.parametrize("own", ["name: other", 'version: "9.9"', "follows: {}"])
@pytest.mark.parametrize("variant", ["test", "validation"])
def test_a_variant_is_of_the_same_protocol(own, variant):
    text = _patched("validation: {", f"validation: {{{own}, ")
    with pytest.raises(UsageError, match=r"validation: .*expected settings, got '(name|version|follows)'"):
        parse_protocol(text, variant, source="toy.yaml")


@pytest.mark.parametrize(("text", "got"), [("", "nothing"), ("- a\n- b\n", "a list"), ("toy", "a str"), ("7", "a int")])
@pytest.mark.parametrize("variant", ["test", "validation"])
def test_what_is_no_mapping_is_no_protocol(text, got, variant):
    with pytest.raises(UsageError, match=f"expected keys like 'name: smoke', got {got}"):
        parse_protocol(text, variant, source="list.yaml")


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML", ".Yml"])
def test_the_suffix_may_be_written_in_any_case(suffix, tmp_path):
    (tmp_path / f"toy{suffix}").write_text(PROTOCOL.read_text())
    assert (
        load_protocol(_finder(), str(tmp_path / f"toy{suffix}")).digest == parse_protocol(PROTOCOL.read_text()).digest
    )


def test_a_number_with_an_exponent_is_a_number():
    loaded = parse_protocol(_patched("params: {images: 2}", "params: {images: 2, lr: 5e-3}"))
    assert loaded.protocol.attacks["guess"].params == {"images": 2, "lr": 0.005}


ROOT = Path(__file__).parents[2]
SHIPPED = "plugins/mibench-datasets/mibench_datasets/protocols"
ORL64 = "7b0fe619c17a627f1d8ed680470b9d11779c6e71a6187323c25884dc1017984e"
RENDERED64 = "8729a81c2d75ab94703fa12fdefc9587f1c55ca7b834f389c3b3b8496f5dddd7"
PUBLISHED = {
    "leaderboards/orl64/1.0/protocol.yaml": ORL64,
    "leaderboards/rendered64/1.0/protocol.yaml": RENDERED64,
    f"{SHIPPED}/orl64-1.0.yaml": ORL64,
    f"{SHIPPED}/rendered64.yaml": RENDERED64,
    f"{SHIPPED}/smoke.yaml": "7b9b19196daed2be5447027f058aa299a1a41ff26e02c5d05a74981d3f7e7537",
    "docs/experiments/orl64-pretrained.yaml": "62650c3afe8c96213dff85ed92e3f30f2cc40ad85df81f6bd3c6724837e12f9c",
}
"""Digests of protocols under which there are records; frozen before YAML was read strictly."""


@pytest.mark.parametrize("path", PUBLISHED)
def test_published_protocols_keep_their_digests(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert parse_protocol(text).digest == PUBLISHED[path]


def test_a_shipped_protocol_has_the_digest_of_its_board():
    shipped = [parse_protocol(path.read_text(encoding="utf-8")) for path in sorted((ROOT / SHIPPED).glob("*.yaml"))]
    digests = {one.protocol.id: one.digest for one in shipped}
    boards = sorted((ROOT / "leaderboards").glob("*/*/protocol.yaml"))
    assert len(boards) >= 5
    for path in boards:
        kept = parse_protocol(path.read_text(encoding="utf-8"))
        assert kept.protocol.id == "@".join(path.parts[-3:-1])
        assert digests[kept.protocol.id] == kept.digest, path
