"""Protocols by name and from files."""

from types import SimpleNamespace

import pytest
from fake_plugin import PROTOCOL

from mibench.api import PluginError, ProtocolSpec, UsageError
from mibench.protocol.load import load_protocol, merge, parse_protocol


def _finder(**fields):
    spec = ProtocolSpec(**{"name": "toy", "factory": "fake_plugin:HERE", "summary": "", "version": "1.0", **fields})
    return SimpleNamespace(get=lambda kind, name: SimpleNamespace(spec=spec))


def test_by_name_and_from_a_file_it_is_the_same_protocol():
    named = load_protocol(_finder(file="fake_plugin:toy.yaml"), "toy@1.0")
    filed = load_protocol(_finder(), str(PROTOCOL))
    assert named.digest == filed.digest
    assert (named.asked, filed.asked) == ("toy@1.0", str(PROTOCOL))


@pytest.mark.parametrize("fields", [{"version": "1.1"}, {"name": "other"}])
def test_a_plugin_cannot_announce_another_protocol_than_it_ships(fields):
    with pytest.raises(PluginError, match=r"the file is toy@1\.0"):
        load_protocol(_finder(file="fake_plugin:toy.yaml", **fields), fields.get("name", "toy"))


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(PluginError, match="no_such_package"):
        load_protocol(_finder(file="no_such_package:toy.yaml"), "toy")


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
