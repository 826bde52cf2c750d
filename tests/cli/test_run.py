"""``mibench run``: what it asks for, what it shows, how it ends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from record_factory import make_record, metric

from mibench.api.errors import PluginError, UsageError
from mibench.cli.request import parse_settings, read_matrix
from mibench.registry.registry import load_registry

RUN = ("run", "-d", "atat", "-a", "ppa")


def test_options_become_a_request(mibench, pretence):
    words = "-d atat -d none/paper -a ppa --dataset orl --model smallcnn --seed 0 --seed 1 --protocol tiny@1.0 " + (
        "--set defense.lam=0.2 --set atat.steps=3 --variant validation --device cpu --executor local --workers 3 "
        "--store s --no-shipped --output o --publish boards"
    )
    assert mibench("run", *shlex.split(words)).code == 0
    request = pretence.requests[0]
    assert request.model_dump() == {
        "protocols": ("tiny@1.0",),
        "datasets": ("orl",),
        "models": ("smallcnn",),
        "defenses": ("atat", "none/paper"),
        "attacks": ("ppa",),
        "seeds": (0, 1),
        "settings": {"defense.lam": 0.2, "atat.steps": 3},
        "variant": "validation",
        "device": "cpu",
        "executor": "local",
        "workers": 3,
        "store": Path("s"),
        "shipped": False,
        "output": Path("o"),
        "publish": Path("boards"),
    }


def test_what_is_not_given_is_the_requests_default(mibench, pretence):
    mibench("run")
    assert pretence.requests[0] == type(pretence.requests[0])()


def test_publish_needs_no_folder(mibench, pretence):
    shown = mibench(*RUN[:1], "--publish", *RUN[1:])
    assert pretence.requests[0].publish == Path("leaderboards")
    assert "published 1 records under leaderboards/tiny/1.0/entries" in shown.out
    assert "publish with" not in shown.out


def test_matrix_and_options_combine(mibench, pretence, tmp_path):
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(
        "defenses: [atat, negls]\nattacks: ppa\nseeds: [0, 1]\nworkers: 4\nsettings: {atat.lam: 0.1, atat.steps: 2}\n"
    )
    mibench("run", "--matrix", str(matrix), "-d", "none", "--set", "atat.lam=0.3")
    request = pretence.requests[0]
    assert (request.defenses, request.attacks, request.seeds, request.workers) == (("none",), ("ppa",), (0, 1), 4)
    assert request.settings == {"atat.lam": 0.3, "atat.steps": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defences: [atat]", "'defences'. Did you mean 'defenses'?"),
        ("command: x", "'command'"),
        ("- atat", "expected keys like"),
        ("defenses: [", "not valid YAML"),
        ("seeds: [x]", "seeds.0 = 'x'"),
        ("seeds: [-1]", "greater than or equal to 0"),
        ("workers: many", "workers = 'many'"),
        ("settings: [a]", "settings: expected a mapping"),
    ],
)
def test_a_wrong_matrix_is_explained(text, said, mibench, pretence, tmp_path):
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(text)
    answered = mibench("run", "--matrix", str(matrix))
    assert answered.code == 2
    assert said in answered.err
    assert pretence.requests == []


def test_a_matrix_that_is_not_there(mibench):
    answered = mibench("run", "--matrix", "no/such.yaml")
    assert answered.code == 2
    assert "Cannot read the matrix file" in answered.err


@pytest.mark.parametrize("text", ["lam=0.2", "defense.lam", "defense.=1", ".lam=1", "=", ""])
def test_wrong_settings_are_explained(text, mibench):
    answered = mibench("run", "--set", text)
    assert answered.code == 2
    assert "expected KEY=VALUE with a key like defense.lam" in answered.err


def test_settings_are_json_or_text():
    assert parse_settings(["a.b=1e-3", "a.c=true", "a.d=[1, 2]", "a.e=x=y", "a.f=null", "v1.5.g= 7 "]) == {
        "a.b": 0.001,
        "a.c": True,
        "a.d": [1, 2],
        "a.e": "x=y",
        "a.f": None,
        "v1.5.g": 7,
    }


def test_settings_may_be_copied_from_what_show_prints():
    told = ["a.b=(0.9, 1.0)", "a.c=()", "a.d=None", "a.e=True", "a.f=(no tuple", "a.g=(10,)"]
    assert parse_settings(told) == {
        "a.b": [0.9, 1.0], "a.c": [], "a.d": None, "a.e": True, "a.f": "(no tuple", "a.g": [10],
    }  # fmt: skip


def test_a_single_value_in_a_matrix_is_a_list_of_one(tmp_path):
    matrix = tmp_path / "m.yaml"
    matrix.write_text("seeds: 0\ndefenses: atat\n")
    assert read_matrix(matrix) == {"seeds": [0], "defenses": ["atat"]}


def test_the_result_is_on_stdout_and_the_rest_on_stderr(mibench, pretence):
    shown = mibench(*RUN)
    assert shown.code == 0
    assert "protocol tiny@1.0 (3f2a9c)   device auto   store " in shown.err
    assert "plan     3 stages: 1 reused, 2 to run, about 2 min" in shown.err
    assert "target      atat · smallcnn · seed 0   done in 48 s   targeted success .99" in shown.err
    lines = shown.out.splitlines()
    assert lines[1] == "tiny@1.0 · smallcnn · ppa"
    assert "leakage ↓" in lines[2]
    assert "robust accuracy ↑ (ε × 255)" in lines[2]
    assert lines[3].split("  ")[1:] != []
    for word in ("re-identified", "attack acc@1 net", "top-1", "0.5", "2"):
        assert word in lines[3]
    assert lines[4].startswith("none  .30 [")
    assert lines[5].startswith("atat  .30 [")
    assert lines[5].endswith(".80  .40") or ".80" in lines[5]
    assert lines[6] == "floor .10   gold .90   12 classes, 48 reconstructions, 1 seed"
    assert "report   out/report.html" in shown.out
    assert "publish with: mibench leaderboard submit out/records/*.json" in shown.out


def test_only_what_a_board_accepts_is_to_be_published(mibench, pretence):
    pretence.fail("none")
    shown = mibench(*RUN)
    assert "publish with: mibench leaderboard submit out/records/atat.json\n" in shown.out
    assert "no board accepts" not in shown.out
    pretence.refusal = "MB303 components.attack.params.lr: expected 5, got 6"
    shown = mibench(*RUN)
    assert "publish with" not in shown.out
    assert "no board accepts 1 of 2 records: MB303 components.attack.params.lr: expected 5, got 6\n" in shown.out


def test_seeds_are_rows(mibench, pretence):
    from record_factory import make_record

    pretence.records = [make_record(defense=d, seed=seed) for seed in (1, 0) for d in ("none", "atat")]
    rows = [line.split("  ")[0] for line in mibench(*RUN).out.splitlines()[4:8]]
    assert rows == ["none · seed 0", "atat · seed 0", "none · seed 1", "atat · seed 1"]


def test_attacks_are_tables_and_flags_are_told(mibench, pretence):
    from record_factory import make_record

    from mibench.results.record import Flag

    flags = [Flag(id="defense-inactive", text="the defense's own signal stayed off")]
    pretence.records = [make_record(attack="ppa", flags=flags), make_record(attack="other", flags=flags)]
    out = mibench(*RUN).out
    assert "tiny@1.0 · smallcnn · ppa" in out
    assert "tiny@1.0 · smallcnn · other" in out
    assert out.count("defense-inactive: the defense's own signal stayed off") == 1


def test_failed_cells_are_rows_and_the_exit_code_is_1(mibench, pretence):
    pretence.fail("atat")
    shown = mibench(*RUN)
    assert shown.code == 1
    assert "atat  failed: target: loss is NaN" in shown.out
    assert "none  .30 [" in shown.out
    assert "failed   atat · smallcnn · seed 0: loss is NaN" in shown.err


def test_all_cells_failed(mibench, pretence):
    pretence.fail("atat")
    pretence.fail("none")
    shown = mibench(*RUN)
    assert shown.code == 1
    assert shown.out.count("failed: target: loss is NaN") == 2


def test_quiet_says_only_the_result(mibench, pretence):
    assert mibench(*RUN, "--quiet").err == ""


def test_json_is_all_of_stdout(mibench, pretence):
    pretence.fail("atat")
    shown = mibench(*RUN, "--json")
    document = json.loads(shown.out)
    assert document["exit_code"] == shown.code == 1
    assert [record["status"] for record in document["records"]] == ["done", "failed"]
    assert document["failures"] == [{"stage": "atat · smallcnn · seed 0", "error": "loss is NaN"}]
    assert document["plan"]["nodes"][0]["reused"] is True


def test_what_no_board_takes_is_told_before_it_runs(mibench, pretence):
    pretence.plan.unlisted_seeds.append("seed 7 is none of tiny@1.0 (0, 1, 2): boards take no record of it")
    for asked in (RUN, (*RUN, "--dry-run")):
        assert "note     seed 7 is none of tiny@1.0 (0, 1, 2): boards take no record of it\n" in mibench(*asked).err


def test_a_blind_guess_stands_beside_the_controls(mibench, pretence):
    found = metric(1.9, unit="bits").model_copy(update={"details": {"among": 20, "chance": 1.268}})
    pretence.records = [make_record(metrics={"reid@1": found})]
    assert "\nchance 1.27   floor .10   gold .90   " in mibench(*RUN).out


def test_dry_run_runs_nothing(mibench, pretence):
    pretence.error = AssertionError("ran")
    shown = mibench(*RUN, "--dry-run")
    assert shown.code == 0
    assert "reuse" in shown.out
    assert "in the store" in shown.out
    assert "2 min" in shown.out
    document = json.loads(mibench(*RUN, "--dry-run", "--json").out)
    assert [node["stage"] for node in document["nodes"]] == ["prior", "target", "measure"]
    assert document["cells"] == 2


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no"), 2), (PluginError("no"), 3), (KeyboardInterrupt(), 130), (OSError("no"), 1)]
)
def test_errors_of_a_run_end_it_and_stop_the_display(error, code, mibench, pretence):
    pretence.error = error
    before = list(load_registry()._watchers)
    assert mibench(*RUN).code == code
    assert load_registry()._watchers == before
