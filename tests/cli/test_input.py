"""What people type and the files they give: read as meant, or refused with a sentence and exit code 2."""

from __future__ import annotations

import functools
import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mibench.api import UsageError
from mibench.cli.main import main
from mibench.cli.request import build_request, parse_settings
from mibench.protocol.request import Request

BOMB = "".join(f"    - &k{i} [{', '.join([f'*k{i - 1}' if i else 'x'] * 10)}]\n" for i in range(9))
DEVICES = ("mps", "xpu", "cpu:3", "cpu:0", "meta", "cuda:-1", "cuda:", "cuda:01", "CPU", "", "privateuseone")
RUN = ("run", "-d", "atat", "-a", "ppa")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "defense.lam=1e999"), "--set defense.lam: expected a finite number, got inf"),
        (("--set", "defense.lam=-Infinity"), "--set defense.lam: expected a finite number"),
        (("--set", "defense.lam=[1, NaN]"), "--set defense.lam: 1: expected a finite number"),
        (("--set", "defense.lam=" + "1" * 4000), "--set defense.lam: expected a number that fits into 64 bits"),
        (("--set", "defense.lam=1\udcff"), "expected UTF-8"),
        (("--set", "defense.lam=" + "[" * 100 + "]" * 100), "nested more than 50 levels deep"),
        (("--set", "defense.lam=1", "--set", "defense.lam=2"), "--set defense.lam: given twice, with 1 and with 2"),
        (("-d", ""), "defenses.1 = '': expected a name"),
        (("-a", " "), "attacks.1 = ' ': expected a name"),
        (("--protocol", ""), "protocols.0 = '': expected a name"),
        (("-a", "a\nb"), "attacks.1 = 'a\\nb': expected a name"),
        (("--seed", "9223372036854775808"), "seeds.0 = 9223372036854775808"),
        (("--store", ""), "--store: expected a folder, got an empty name"),
        (("--output", " "), "--output: expected a folder, got an empty name"),
        (("--publish", ""), "--publish: expected a folder, got an empty name"),
        (("--matrix", ""), "expected an ordinary file"),
        (("--store", "~no-such-user/x"), "a home folder that is not known here"),
        *((("--device", name), f"device = '{name}': expected auto, cpu, cuda or cuda:N") for name in DEVICES),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(arguments, said, mibench, pretence):
    answered = mibench(*RUN, *arguments)
    assert answered.code == 2
    assert said in answered.err
    assert pretence.requests == []


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 3000, "(" * 3000, "{" * 3000, '{"a":' * 3000])
def test_what_is_too_long_or_deep_to_be_read_stays_text(text):
    assert parse_settings([f"a.b={text}"]) == {"a.b": text}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected keys like 'defenses: [atat, none]', got nothing"),
        ("- a\n- b\n", "got list"),
        ("protocols: smoke\ndefenses: [none]\ndefenses: [negls]\n", "the key 'defenses' is given twice"),
        *((f"{key}: []\n", f"{key}: nothing is selected. Name at least one, or leave {key} out") for key in
          ("protocols", "datasets", "models", "defenses", "attacks", "seeds")),
        ("seeds:\n", "seeds: nothing is selected"),
        ("attacks: ['']\n", "attacks.0 = '': expected a name"),
        ("seeds: [010, 1:30, yes]\n", "'010' begins with a zero"),
        ("seeds: [1:30]\n", "seeds.0 = '1:30'"),
        ("seeds: [yes]\n", "seeds.0 = 'yes'"),
        ("seeds: [true]\n", "seeds.0 = True: a boolean is no number"),
        ("seeds: [1.0]\n", "seeds.0 = 1.0: expected a whole number"),
        ("workers: true\n", "workers = True: a boolean is no number"),
        ("shipped: no\n", "shipped = 'no': expected true or false"),
        ("shipped: 0\n", "shipped = 0: expected true or false"),
        ("store: ''\n", "--store: expected a folder, got an empty name"),
        ('store: "a\\0b"\n', "a path holds no zero byte"),
        ("device: mps\n", "device = 'mps': expected auto, cpu, cuda or cuda:N"),
        ("settings: {attack.lr: .inf}\n", "settings.attack.lr: expected a finite number, got inf"),
        ("settings:\n  attack.lr:\n" + BOMB, "aliases written out"),
    ],
)  # fmt: skip
def test_a_matrix_is_read_strictly(text, said, mibench, pretence, tmp_path):
    (tmp_path / "m.yaml").write_text(text)
    answered = mibench("run", "--matrix", str(tmp_path / "m.yaml"))
    assert answered.code == 2
    assert said in answered.err
    assert pretence.requests == []


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_files_in_other_encodings(encoding, mibench, pretence, tmp_path):
    (tmp_path / "m.yaml").write_bytes("defenses: none # é\n".encode(encoding))
    for option in ("--matrix", "--protocol"):
        answered = mibench("run", option, str(tmp_path / "m.yaml"), "--dry-run")
        if option == "--matrix":
            assert answered.code == 2
            assert "not UTF-8 text; save the file as UTF-8" in answered.err


def test_what_is_no_ordinary_file_is_no_matrix(mibench, pretence, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "loop", "pipe", "none"):
        answered = mibench("run", "--matrix", str(tmp_path / name))
        assert answered.code == 2
        assert "Cannot read the matrix file" in answered.err


@pytest.mark.parametrize("how", ["option", "matrix", "python"])
def test_the_home_folder_is_expanded_everywhere(how, mibench, pretence, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    paths = {name: f"~/{name}" for name in ("store", "output", "publish")}
    if how == "option":
        mibench(*RUN, *(word for name, path in paths.items() for word in (f"--{name}", path)))
        request = pretence.requests[0]
    elif how == "matrix":
        (tmp_path / "m.yaml").write_text(json.dumps(paths))
        mibench("run", "--matrix", "~/m.yaml")
        request = pretence.requests[0]
    else:
        request = Request(**paths)
    assert (request.store, request.output, request.publish) == tuple(tmp_path / name for name in paths)


def test_the_home_folder_is_expanded_in_variables(tmp_path, monkeypatch):
    from mibench.store.store import default_root

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MIBENCH_STORE", "~/store")
    assert default_root() == tmp_path / "store"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"attacks": ()}, "attacks = (): nothing is selected"),
        ({"defenses": []}, "defenses = []: nothing is selected"),
        ({"defences": ["atat"]}, "defences"),
        ({"seeds": [-1]}, "seeds.0 = -1"),
        ({"seeds": [True]}, "seeds.0 = True: a boolean is no number"),
        ({"workers": 0, "device": "tpu"}, "workers = 0"),
        ({"store": ""}, "--store: expected a folder"),
        ({"settings": {"a.b": float("nan")}}, "settings: a.b: expected a finite number, got nan"),
        ({"variant": "tset"}, "variant = 'tset'"),
    ],
)
def test_python_callers_get_the_promised_error(fields, said):
    import mibench

    for call in (mibench.Request, mibench.run, Request.model_validate if "store" not in fields else mibench.Request):
        with pytest.raises(UsageError) as caught:
            call(fields) if call == Request.model_validate else call(**fields)
        assert said in str(caught.value)


def test_a_request_and_keywords_are_not_both_given():
    import mibench

    with pytest.raises(UsageError, match="also defenses, seeds; put all into the request"):
        mibench.run(Request(), defenses=["none"], seeds=[1])


# Whatever is typed, nobody is told that it is a bug


def ends_well(*arguments: str) -> None:
    """Run a command in this process; it must end with 0 or 2, and say neither a traceback nor that it has a bug."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(arguments))
    assert code in (0, 2), err.getvalue()
    assert "Traceback" not in err.getvalue()
    assert "bug in mibench" not in err.getvalue()
    assert (code == 2) == ("Error" in err.getvalue())


values = (
    st.text(max_size=30)
    | st.floats().map(repr)
    | st.integers().map(str)
    | st.sampled_from(
        ["inf", "-nan", "1e999", "yes", "~", "0x1f", "010", "1_0", "1:30", "None", "True", "()", "(1,", "{}"]
    )
    | st.text("[](){},:.'\"0123456789eE+-xTrueNon \\", max_size=30)
)


@functools.cache
def _knobs():
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Knobs:
        lam: float = 0.5
        steps: int | None = 3
        on: bool = False
        pair: tuple[float, float] = (0.0, 1.0)
        name: str = ""

    return Knobs


@given(st.sampled_from(["lam", "steps", "on", "pair", "name"]), values)
def test_any_setting_is_taken_or_refused(name, value):
    from mibench.api import params
    from mibench.base.canonical import digest

    try:
        read = parse_settings([f"defense.{name}={value}"])
        request = build_request({"settings": read}, matrix=None)
        made = params.build(_knobs(), {name: request.settings[f"defense.{name}"]}, owner="defense 'x'")
    except UsageError:
        return
    digest(params.canonical(made))  # it can be a key


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*Request.model_fields]), value=values)
def test_any_scalar_in_a_matrix_is_taken_or_refused(key, value, pretence, tmp_path):
    (tmp_path / "any.yaml").write_text(f"{key}: {value}\n", encoding="utf-8", errors="surrogatepass")
    ends_well("run", "--dry-run", "--matrix", str(tmp_path / "any.yaml"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(option=st.sampled_from(["--set", "-d", "-a", "--protocol", "--device", "--seed", "--workers"]), value=values)
def test_any_option_is_taken_or_refused(option, value, pretence):
    ends_well("run", "--dry-run", f"{option}={value}" if option.startswith("--") else f"{option}{value}")
