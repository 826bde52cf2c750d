"""data, doctor and leaderboard, on a tiny installed world."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from pathlib import Path

import pytest
from record_factory import PROTOCOL_TEXT, make_record

from mibench.api.hookspecs import hookimpl
from mibench.api.specs import DatasetSpec, ModelSpec, PriorSpec, ProtocolSpec
from mibench.cli import checkup
from mibench.registry.registry import Registry

PARTS = """
    from dataclasses import dataclass

    import torch

    from mibench.api import DataError, TensorImages

    @dataclass(frozen=True, kw_only=True)
    class Ready:
        def missing(self):
            return []

        def num_identities(self):
            return 9

        def load(self, identities, *, size, channels):
            pixels = torch.zeros(2, channels, size, size, dtype=torch.uint8)
            return TensorImages(pixels, torch.zeros(2, dtype=torch.int64), 1)

    @dataclass(frozen=True, kw_only=True)
    class Absent(Ready):
        def missing(self):
            return ["tiny.zip: get it with `wget tiny.zip`"]

    @dataclass(frozen=True, kw_only=True)
    class Broken(Ready):
        def missing(self):
            raise KeyboardInterrupt if self.stops else ZeroDivisionError("oops")

        stops: bool = False

    @dataclass(frozen=True, kw_only=True)
    class Stopping(Broken):
        stops: bool = True

    @dataclass(frozen=True, kw_only=True)
    class Damaged(Ready):
        def load(self, identities, *, size, channels):
            raise DataError("tiny.zip is truncated")

    @dataclass(frozen=True, kw_only=True)
    class Wrong(Ready):
        def load(self, identities, *, size, channels):
            return super().load(identities, size=size // 2, channels=channels)
"""


class World:
    """A plugin with one protocol and its parts."""

    datasets = ("Ready",)

    @hookimpl
    def mibench_datasets(self):
        for name in self.datasets:
            plain = "tiny-data" if name == self.datasets[0] else name.lower()
            yield DatasetSpec(name=plain, factory=f"tiny_installed.parts:{name}", summary=f"is {name}")

    @hookimpl
    def mibench_models(self):
        yield ModelSpec(name="smallcnn", factory="tiny_installed.parts:Ready", summary="s")
        yield ModelSpec(name="judge", factory="tiny_installed.parts:Ready", summary="s", role="embedder")

    @hookimpl
    def mibench_priors(self):
        yield PriorSpec(name="pca", factory="tiny_installed.parts:Ready", summary="s")

    @hookimpl
    def mibench_protocols(self):
        yield ProtocolSpec(name="tiny", version="1.0", file="tiny_installed:tiny.yaml", summary="s")


@pytest.fixture()
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install the tiny world with the given datasets; the first one is the protocol's."""
    package = tmp_path / "tiny_installed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(textwrap.dedent(PARTS))
    (package / "tiny.yaml").write_text(PROTOCOL_TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("mibench.protocol.request.DEFAULT_PROTOCOL", "tiny")

    def _install(*datasets: str) -> Registry:
        plugin = World()
        plugin.datasets = datasets or ("Ready",)
        registry = Registry.from_modules(plugin)
        assert not registry.failures
        for place in ("mibench.registry.registry", "mibench.cli.data", "mibench.cli.show"):
            monkeypatch.setattr(f"{place}.load_registry", lambda: registry)
        return registry

    return _install


def test_data_list_tells_what_is_missing(mibench, world):
    world("Ready", "Absent")
    shown = mibench("data", "list")
    assert shown.code == 0
    assert "absent: tiny.zip: get it with `wget tiny.zip`" in shown.out
    rows = json.loads(mibench("data", "list", "--json").out)["datasets"]
    assert {row["name"]: row["state"] for row in rows} == {"tiny-data": "ready", "absent": "missing"}


def test_data_prepare_says_how(mibench, world):
    world("Ready", "Absent")
    assert mibench("data", "prepare", "tiny-data").code == 0
    shown = mibench("data", "prepare", "absent")
    assert shown.code == 1
    assert "wget tiny.zip" in shown.out


@pytest.mark.parametrize(
    ("name", "result", "detail"),
    [
        ("Ready", "ok", "9 identities; the first has 2 images"),
        ("Absent", "missing", "wget"),
        ("Damaged", "failed", "tiny.zip is truncated"),
        ("Wrong", "failed", "asked for 3 x 64 x 64"),
    ],
)
def test_data_verify_reads_the_first_identity(name, result, detail, mibench, world):
    world(name)
    shown = mibench("data", "verify", "tiny-data", "--json")
    (row,) = json.loads(shown.out)["datasets"]
    assert row["result"] == result
    assert detail in row["detail"]
    assert shown.code == (0 if result == "ok" else 1)


def test_data_that_was_not_asked_for_may_be_missing(mibench, world):
    world("Ready", "Absent")
    assert mibench("data", "verify").code == 0


def test_show_prints_a_protocol_with_its_digest(mibench, world):
    world()
    shown = mibench("show", "protocol", "tiny")
    assert shown.code == 0
    assert "headline: reid@1" in shown.out
    document = json.loads(mibench("show", "protocols", "tiny", "--json").out)
    assert len(document["digest"]) == 64
    assert document["content"]["name"] == "tiny"


def test_show_finds_a_protocol_by_its_version_too(mibench, world):
    world()
    assert mibench("show", "protocol", "tiny@1.0").out == mibench("show", "protocol", "tiny").out
    other = mibench("show", "protocol", "tiny@9.0")
    assert other.code == 2
    assert "Protocol 'tiny' is installed in version 1.0, not 9.0." in other.err


def test_doctor_is_content_with_a_ready_world(mibench, world, tmp_path):
    world()
    shown = mibench("doctor", "--store", str(tmp_path / "store"))
    assert shown.code == 0, shown.out
    assert "protocol tiny@1.0" in shown.out
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("part", "said"), [("Broken", "ZeroDivisionError: oops"), ("Stopping", "KeyboardInterrupt")])
def test_doctor_survives_a_component_that_breaks_when_it_is_asked(part, said, mibench, world, tmp_path):
    world(part)
    shown = mibench("doctor", "--store", str(tmp_path), "--json")
    assert shown.code == 1
    (check,) = [check for check in json.loads(shown.out)["checks"] if check["name"] == "protocol tiny"]
    assert check["status"] == "broken"
    assert said in check["detail"]


def test_doctor_names_the_command_that_fixes_the_default_protocol(mibench, world, tmp_path):
    world("Absent")
    shown = mibench("doctor", "--store", str(tmp_path), "--json")
    document = json.loads(shown.out)
    assert (shown.code, document["healthy"]) == (1, False)
    (check,) = [check for check in document["checks"] if check["name"] == "protocol tiny@1.0"]
    assert check["status"] == "broken"
    assert check["fix"] == "dataset: tiny.zip: get it with `wget tiny.zip`"
    assert "fix protocol tiny@1.0: dataset: tiny.zip" in mibench("doctor", "--store", str(tmp_path)).out


def test_what_only_another_protocol_needs_is_no_illness(world, monkeypatch):
    registry = world("Absent")
    monkeypatch.setattr("mibench.protocol.request.DEFAULT_PROTOCOL", "other")
    found = {check.name: check.status for check in checkup.check_protocols(registry)}
    assert found == {"protocol other": "broken", "protocol tiny@1.0": "todo"}


def test_broken_plugins_are_an_illness():
    class Broken:
        @hookimpl
        def mibench_defenses(self):
            raise RuntimeError("no luck")

    (loaded, failed) = checkup.check_plugins(Registry.from_modules(Broken()))
    assert (loaded.status, failed.status) == ("ok", "broken")
    assert "no luck" in failed.detail
    assert "pip uninstall Broken" in failed.fix


def test_a_store_that_cannot_be_written_is_an_illness(tmp_path):
    (tmp_path / "file").write_text("")
    assert checkup.check_store(tmp_path / "file" / "store").status == "broken"
    assert checkup.check_store(tmp_path / "new" / "store").status in {"ok", "todo"}


def test_records_go_onto_a_board_and_come_out_in_four_formats(mibench, world, tmp_path):
    world()
    paths = []
    for defense, leakage in (("none", 0.6), ("atat", 0.3)):
        path = tmp_path / f"{defense}.json"
        path.write_text(make_record(defense=defense, leakage=leakage).model_dump_json())
        paths.append(str(path))
    folder = str(tmp_path / "boards")
    added = mibench("leaderboard", "add", *paths, "--to", folder)
    assert added.code == 0, added.err
    assert added.out.count("entry    ") == 2
    table = mibench("leaderboard", "show", "--from", folder)
    assert table.code == 0
    assert "tiny@1.0" in table.out
    assert re.search(r"^\S+ +atat .*^\S+ +none ", table.out, re.DOTALL | re.MULTILINE)
    assert json.loads(mibench("leaderboard", "show", "tiny", "--json", "--from", folder).out)
    assert len(list(csv.reader(io.StringIO(mibench("leaderboard", "show", "--csv", "--from", folder).out)))) == 3
    assert "| --- |" in mibench("leaderboard", "show", "--markdown", "--from", folder).out
    assert mibench("leaderboard", "show", "tinny", "--from", folder).code == 2
