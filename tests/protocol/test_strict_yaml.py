"""YAML: scalars by version 1.2's core schema, each key once, bounded, and every refusal a sentence."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.protocol.files import read_text, read_yaml
from mibench.protocol.strict_yaml import MAX_BYTES, MAX_VALUES, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [  # section 10.3 of the YAML 1.2.2 specification
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("n", "n"),
        ("true", True), ("True", True), ("FALSE", False), ("tRUE", "tRUE"),
        ("1:30", "1:30"), ("190:20:30.15", "190:20:30.15"), ("1_000", "1_000"), ("0b11", "0b11"),
        ("0o14", 12), ("0x1F", 31), ("+12", 12), ("-0", 0), ("0", 0),
        ("1e-3", 0.001), ("5e-3", 0.005), ("1E3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-2.5e+1", -25.0), ("0.5", 0.5),
        ("2001-12-14", "2001-12-14"), ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("~", None), ("null", None), ("Null", None), ("", None), ("nULL", "nULL"), ("1.0.0", "1.0.0"), ("=", "="),
        ("'010'", "010"), ("!!str 010", "010"), ("!!float 3", 3.0),
    ],
)  # fmt: skip
def test_plain_scalars_are_read_as_version_1_2_says(text, value):
    found = parse_yaml(f"a: {text}", "m.yaml")["a"]
    assert found == value
    assert type(found) is type(value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 010", r"'010' begins with a zero; .* \(line 1, column 4\)"),
        ("a: [1, 08]", "'08' begins with a zero"),
        ("a: 01.5", "'01.5' begins with a zero"),
        ("a: .inf", "a: expected a finite number, got inf"),
        ("a: {b: [1, -.INF]}", r"a\.b\.1: expected a finite number, got -inf"),
        ("a: .nan", "a: expected a finite number, got nan"),
        ("a: 1e999", "a: expected a finite number, got inf"),
        ("a: 9223372036854775808", "a: expected a number that fits into 64 bits"),
        ("a: 0x" + "f" * 9000, "a: expected a number that fits into 64 bits"),
        ("a: " + "1" * 5000, "thousands of digits"),
        ("a: 1\nb: 2\na: 3", r"the key 'a' is given twice, first in line 1 \(line 3, column 1\)"),
        ("a: {b: 1, 'b': 2}", "the key 'b' is given twice"),
        ("a: &x {b: 1}\nc: {<<: *x, <<: *x}", "the key '<<' is given twice"),
        ("1: 2", "a key is not text"),
        ("true: 2", "a key is not text"),
        ("? [a]\n: 2", "a key is not text"),
        (BOMB, f"more than {MAX_VALUES} values, with aliases written out"),
        (MERGE_BOMB, f"more than {MAX_VALUES} values, with aliases written out"),
        ("&a [*a]", "an alias stands inside of what it names"),
        ("a: *b", "undefined alias 'b'"),
        ("[" * 3000, "nested more than 50 levels deep"),
        ("{a: " * 3000, "nested more than 50 levels deep"),
        ("- " * 3000 + "a", "nested more than 50 levels deep"),
        ("[" + "x," * (2 * MAX_VALUES + 1) + "]", f"more than {MAX_VALUES} values"),
        ("a: !!python/object/apply:os.system [x]", "the tag .* is not known here"),
        ("a: !!binary aGk=", "the tag .* is not known here"),
        ("a: !!int yes", "'yes' is no int"),
        ("a: !!bool 1", "'1' is no bool"),
        ("a: [", r"expected the node content.* \(line 1"),
        ("a: b\n---\nc: d", "expected a single document"),
        ("a: \x00", "special characters are not allowed"),
        ("x" * (MAX_BYTES + 1), "expected at most"),
    ],
)  # fmt: skip
def test_what_is_refused_is_explained(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_yaml(text, "m.yaml")
    assert str(caught.value).startswith("m.yaml")
    assert len(str(caught.value)) < 300


def test_aliases_and_merges_within_reason_are_read():
    found = parse_yaml("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}", "m.yaml")
    assert found == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}


texts = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\x7f"))
keys = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\x7f"), max_size=160)
"""YAML reads at most 1024 characters as a key; JSON may write six for one."""
numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


@given(plain)
def test_json_means_the_same_in_yaml(value):
    import json

    text = json.dumps(value)  # a subset of YAML 1.2, but for escapes in pairs
    assert parse_yaml(text, "m.yaml") == value


@given(st.text(max_size=40) | st.text("[]{}&*!|>-?:,'\"#%@`~.0123456789eE<+_ \n\tabinfxyo", max_size=40))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        parse_yaml(text, "m.yaml")
    except UsageError as error:
        assert str(error).startswith("m.yaml")


def test_files_that_are_none(tmp_path):
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")  # nobody writes: opening it would wait for ever
    with (tmp_path / "big.yaml").open("wb") as stream:
        stream.truncate(100_000_000)
    for name, said in [
        ("loop.yaml", "symbolic links"),
        ("pipe.yaml", "expected an ordinary file"),
        (".", "expected an ordinary file"),
        ("big.yaml", f"more than {MAX_BYTES} bytes"),
        ("none.yaml", "No such file"),
        ("a\0b.yaml", "null"),
        ("x" * 300 + ".yaml", "name too long"),
    ]:
        with pytest.raises(UsageError, match=said):
            read_text(tmp_path / name, "the matrix file")


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 2), ("utf-16", 1)])
def test_other_encodings_are_named(encoding, line, tmp_path):
    (tmp_path / "m.yaml").write_bytes("defenses: none\n# é\n".encode(encoding))
    with pytest.raises(UsageError, match=f"line {line} is not UTF-8 text; save the file as UTF-8"):
        read_yaml(tmp_path / "m.yaml", "the matrix file")


def test_a_byte_order_mark_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    from pathlib import Path

    assert read_yaml(Path("~/m.yaml"), "the matrix file") == ({"a": 1}, "a: 1\n")
