"""Measuring again: a bundle gives the very numbers anywhere, and what was corrected moves beside what is published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mibench.api.errors import UsageError
from mibench.bundles.manifest import BundleError
from mibench.bundles.regrade import comparable
from mibench.leaderboard import RefusedError, add_records, load_board
from mibench.protocol.load import parse_protocol
from mibench.registry.registry import Registry
from mibench.results.io import save_record


def test_a_bundle_gives_the_very_numbers_in_a_new_store(world: Any, bundle: Path, tmp_path: Path) -> None:
    found = world.regrade(bundle, tmp_path / "elsewhere")
    assert [one.record.digest for one in found] == [record.digest for record in world.records]
    assert all({change.verdict for change in one.changes} == {"equal"} and one.held for one in found)
    own, controls = 4, 3  # hits, match, near, light; all but hits on gold, floor and undefended
    assert {len(one.changes) for one in found} == {own + 3 * controls}
    assert [pair[0] for pair in comparable(found)] == world.records


def test_nothing_of_a_bundle_stays_in_the_store_and_nothing_is_attacked(
    world: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mibench.stages.reconstruct.run", lambda ctx: pytest.fail("it attacked"))
    world.regrade(bundle, tmp_path / "elsewhere")
    stages = {path.name for path in (tmp_path / "elsewhere" / "artifacts").iterdir()}
    assert stages == {"data"}
    assert not list((tmp_path / "elsewhere" / "regrade").iterdir())


def test_judges_are_trained_where_a_bundle_has_none(world: Any, tmp_path: Path) -> None:
    manifest = world.pack(tmp_path / "lean", judges=False)
    assert [(judge.role, judge.packed) for judge in manifest.judges] == [
        ("embedder", False),
        ("evaluator:judge", False),
    ]
    assert {entry.stage for entry in manifest.artifacts} == {"target", "reconstruct"}
    for settings in ({}, {"own_judges": True}):
        found = world.regrade(tmp_path / "lean", tmp_path / "elsewhere", **settings)
        assert all(one.held for one in found)
        assert not [note for one in found for note in one.notes if "came with the bundle" in note]


def test_measurements_of_the_store_are_not_taken_for_new_ones(
    world: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double(monkeypatch)
    found = world.regrade(bundle, tmp_path / "store")
    moved = {change.column for one in found for change in one.changes if not change.held}
    assert moved == {"near", "gold: near", "floor: near", "undefended: near"}
    [change] = [change for change in found[0].changes if change.column == "near"]
    assert change.verdict == "moved"
    assert change.found == pytest.approx(2 * change.published)


def test_a_corrected_metric_gives_a_new_board_beside_the_old(
    world: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards, text = tmp_path / "boards", world.protocol.text
    add_records(world.paths, boards, {"toy@1.0": text})
    before = {path: path.read_bytes() for path in boards.rglob("*.json")}
    double(monkeypatch)
    raise_version(world.registry, "match")
    newer = parse_protocol(text.replace('version: "1.0"', 'version: "1.1"'))
    same = world.regrade(bundle, tmp_path / "elsewhere")
    assert "metric match: version 1 then, 2 now" in same[0].notes
    with pytest.raises(UsageError, match="newer metrics"):
        comparable(same)
    with pytest.raises(RefusedError, match=r"MB203 .* belongs on the board of a new version of the protocol"):
        add_records([save_record(same[0].record, tmp_path / "same")], boards)
    found = world.regrade(bundle, tmp_path / "elsewhere", protocol=newer)
    assert "measured under toy@1.1 instead of toy@1.0" in found[0].notes
    paths = [save_record(one.record, tmp_path / "new") for one in found]
    add_records(paths, boards, {"toy@1.1": newer.text})
    assert {path: path.read_bytes() for path in before} == before
    old, new = (load_board(boards, f"toy@{version}").rows for version in ("1.0", "1.1"))
    assert [(row.defense, row.leakage.value) for row in old] == [(row.defense, row.leakage.value) for row in new]
    assert new[0].records[0].metrics["near"].value == pytest.approx(2 * old[0].records[0].metrics["near"].value)
    assert new[0].records[0].inputs == old[0].records[0].inputs


def test_another_target_cannot_be_measured_from_this_evidence(world: Any, bundle: Path, tmp_path: Path) -> None:
    other = parse_protocol(world.protocol.text.replace("epochs: 5, batch: 5", "epochs: 6, batch: 5"))
    with pytest.raises(BundleError, match="it has to be run"):
        world.regrade(bundle, tmp_path / "elsewhere", protocol=other)


def test_a_metric_that_fails_says_so_and_costs_only_its_records(
    world: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_plugin.parts.Hits.measure", lambda *_: 1 / 0)
    found = world.regrade(bundle, tmp_path / "elsewhere")
    assert all(one.record is None and "division by zero" in one.error for one in found)
    monkeypatch.undo()
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    assert all(one.held for one in world.regrade(bundle, tmp_path / "elsewhere"))


def test_a_method_that_is_not_installed_is_named(world: Any, bundle: Path, tmp_path: Path) -> None:
    del world.registry._components["defense", "noisy"]
    with pytest.raises(UsageError, match="the defense 'noisy' is not installed here; install"):
        world.regrade(bundle, tmp_path / "elsewhere")


def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the metric ``match`` give twice the nearness that it gave before."""
    from fake_plugin.parts import Match

    plain = Match.measure

    def doubled(self: Match, evidence: Any, ctx: Any) -> Any:
        hit, near = plain(self, evidence, ctx)
        return [hit, replace(near, value=2 * near.value, per_class=[2 * value for value in near.per_class])]

    monkeypatch.setattr(Match, "measure", doubled)


def raise_version(registry: Registry, metric: str) -> None:
    """Raise the version of a metric's numbers."""
    entry = registry._components["metric", metric]
    registry._components["metric", metric] = replace(entry, spec=replace(entry.spec, version="2"))
