"""Entries and newer versions of their protocol. What is carried over is what a run under the newer version gives."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_plugin.steps
import pytest

from mibench.api.errors import UsageError
from mibench.assemble.carry import Carrier
from mibench.assemble.recheck import Recheck
from mibench.bundles.pack import pack, read_records
from mibench.bundles.regrade import Means, regrade
from mibench.leaderboard import RefusedError, add_records, verify
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.migrate import Migration, migrate
from mibench.leaderboard.submission import prepare
from mibench.leaderboard.withdraw import withdraw
from mibench.plan.memo import Memo
from mibench.protocol.load import load_protocol
from mibench.protocol.request import Request
from mibench.results.io import load_record, save_record, seal
from mibench.results.record import Record
from mibench.session.run import run as session_run
from mibench.store.store import Store

REGISTRY = fake_plugin.steps.registry()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Path]]]:
    """Return ``run(version, **fields of the request)``; all runs share a store."""
    home = tmp_path_factory.mktemp("runs")

    def _run(version: str, **fields: Any) -> list[Path]:
        request = Request(
            protocols=(f"steps@{version}",),
            defenses=("noisy",),
            attacks=("guess",),
            device="cpu",
            store=home / "store",
            output=home / "output" / version / str(len(fields["seeds"])),
            **fields,
        )
        return list(session_run(request, REGISTRY).record_paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBENCH_THREADS", "1")
        yield _run


@pytest.fixture(scope="module")
def published(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboards folder with the undefended target and one defense, two seeds each, under version 1.0."""
    root = tmp_path_factory.mktemp("published") / "boards"
    run("1.0", seeds=(3, 4), publish=root)
    return root


@pytest.fixture()
def boards(published: Path, tmp_path: Path) -> Path:
    """The published boards, to be changed."""
    return Path(shutil.copytree(published, tmp_path / "boards"))


def loaded(version: str) -> Any:
    return load_protocol(REGISTRY, f"steps@{version}")


def move(boards: Path, before: str, after: str, **more: Any) -> Migration:
    old, new = loaded(before), loaded(after)
    return migrate(boards, old, new, Carrier(REGISTRY, old, new), recheck=Recheck(REGISTRY).findings, **more)


def entries(boards: Path, version: str) -> dict[Path, Record]:
    return dict(BoardFolder(boards, "steps", version).records())


def broken(boards: Path) -> list[str]:
    return [found.id for one in verify(boards, None, Recheck(REGISTRY).findings) for found in one.findings]


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cosmetic_change_carries_what_a_run_would_give(boards: Path, run: Any) -> None:
    before = everything(boards / "steps" / "1.0")
    done = move(boards, "1.0", "1.1")
    assert (done.change, done.left, done.commands, len(done.carried)) == ("cosmetic", [], [], 4)
    assert everything(boards / "steps" / "1.0") == before
    carried = entries(boards, "1.1")
    for path in run("1.1", seeds=(3, 4)):
        again, entry = (
            load_record(path),
            next(one for one in carried.values() if one.digest == load_record(path).digest),
        )
        assert (entry.cell, entry.protocol, entry.command) == (again.cell, again.protocol, again.command)
        assert again.origins == []
    olds = {record.digest for record in entries(boards, "1.0").values()}
    assert {record.origins[0].digest for record in carried.values()} == olds
    assert {(one.protocol, one.change) for record in carried.values() for one in record.origins} == {
        ("steps@1.0", "cosmetic")
    }
    assert broken(boards) == []


def test_a_board_of_carried_entries_takes_submissions(boards: Path, run: Any) -> None:
    """Their digests are checked against the older board, which a submission does not bring and does not change."""
    move(boards, "1.0", "1.1")
    before = everything(boards)
    made = prepare(run("1.1", seeds=(5,)), boards, {})
    assert (made.refused, made.present, len(made.boards)) == ((), 0, 1)
    assert all(name.startswith("steps/1.1/") for name in made.files)
    assert len(made.files) == 3  # two entries and the table
    again = prepare(sorted(entries(boards, "1.1")), boards, {})
    assert (again.refused, again.present, again.files) == ((), 4, {})
    assert everything(boards) == before


def test_migrating_again_does_nothing_more(boards: Path) -> None:
    move(boards, "1.0", "1.1")
    before = everything(boards)
    done = move(boards, "1.0", "1.1")
    assert (len(done.carried), len(done.there)) == (0, 4)
    assert everything(boards) == before


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(boards: Path) -> None:
    before = everything(boards)
    dry = move(boards, "1.0", "1.1", dry_run=True)
    assert everything(boards) == before
    done = move(boards, "1.0", "1.1")
    assert dry == done
    assert len(dry.carried) == 4
    assert (move(boards, "1.0", "1.1", dry_run=True).carried, len(done.left)) == ({}, 0)


def test_an_entry_that_cannot_be_planned_as_it_was_stays(boards: Path) -> None:
    first, second, *_ = entries(boards, "1.0").items()
    cell = first[1].cell.model_copy(update={"key": "ab" * 32})
    attack = second[1].components["attack"].model_copy(update={"name": "gone", "distribution": "mibench-gone"})
    parts = {**second[1].components, "attack": attack}
    gone = {"cell": second[1].cell.model_copy(update={"attack": "gone"}), "components": parts}
    for (path, record), changes in ((first, {"cell": cell}), (second, gone)):
        path.unlink()
        save_record(record.model_copy(update=changes), path.parent)
    done = move(boards, "1.0", "1.1")
    assert len(done.carried) == 2
    assert {str(one.problem) for one in done.left} == {
        "cell.key: with what is installed here, its cell has another key; migrate it with the plugins and copies of"
        " data that made it",
        "components.attack: attack 'gone' of mibench-gone 0 is not installed; pip install mibench-gone, and migrate"
        " again",
    }
    assert all("--protocol steps@1.1" in command for command in done.commands)


def test_a_regradable_change_links_what_was_measured_again(boards: Path, run: Any) -> None:
    move(boards, "1.0", "1.1")
    done = move(boards, "1.1", "1.2")
    assert (done.change, done.carried, len(done.regrade)) == ("regradable", {}, 4)
    assert not (boards / "steps" / "1.2").exists()
    regraded = run("1.2", seeds=(3, 4))  # reconstructions come from the store
    stranger = run("1.2", seeds=(5,))
    done = move(boards, "1.1", "1.2", regraded=[*regraded, *stranger])
    assert (len(done.carried), done.regrade) == (4, [])
    assert {one.path for one in done.left} == set(stranger)
    assert "no entry of steps@1.1 has this cell" in str(done.left[0].problem)
    olds = {record.digest for record in entries(boards, "1.1").values()}
    for record in entries(boards, "1.2").values():
        assert [one.change for one in record.origins] == ["cosmetic", "regradable"]
        assert record.origins[-1].digest in olds
    assert broken(boards) == []


def test_bundles_of_one_version_fill_the_board_of_the_next(boards: Path, run: Any, tmp_path: Path) -> None:
    move(boards, "1.0", "1.1")
    paths = run("1.1", seeds=(3, 4))
    store = Store(paths[0].parents[4] / "store")
    pack(read_records(paths), loaded("1.1"), store, REGISTRY, Memo(), tmp_path / "bundle.zip")
    means = Means(Store(tmp_path / "elsewhere"), REGISTRY, device="cpu")
    found = regrade(tmp_path / "bundle.zip", means, protocol=loaded("1.2"))
    made = [save_record(one.record, tmp_path / "regraded") for one in found if one.record]
    done = move(boards, "1.1", "1.2", regraded=made)
    assert (len(done.carried), done.regrade, done.left) == (4, [], [])
    assert broken(boards) == []


def test_what_was_carried_from_a_withdrawn_entry_goes_too(boards: Path) -> None:
    move(boards, "1.0", "1.1")
    board = BoardFolder(boards, "steps", "1.0")
    [first, *_] = board.files()
    withdraw(boards, board, [first], reason="wrong data", by="us", date="2026-12-01")
    [told] = [found for one in verify(boards, None, Recheck(REGISTRY).findings) for found in one.findings]
    assert (told.id, told.problem.text) == ("MB804", "its origin was withdrawn from steps@1.0")
    assert "withdraw it too" in told.problem.remedy


def test_a_rerun_moves_nothing_and_says_what_to_run(boards: Path, run: Any) -> None:
    move(boards, "1.0", "1.1")
    move(boards, "1.1", "1.2", regraded=run("1.2", seeds=(3, 4)))
    before = everything(boards)
    done = move(boards, "1.2", "2.0")
    assert (done.change, done.carried, done.regrade, done.left) == ("rerun", {}, [], [])
    assert everything(boards) == before
    words = [shlex.split(command) for command in done.commands]
    assert [word[:4] for word in words] == [["mibench", "run", "--protocol", "steps@2.0"]] * 2
    assert {word[word.index("--defense") + 1] for word in words} == {"plain", "noisy"}
    assert words[0][-8:] == ["--attack", "guess", "--seed", "3", "--seed", "4", "--seed", "5"]
    with pytest.raises(UsageError, match="nothing is measured again"):
        move(boards, "1.2", "2.0", regraded=[next(iter(entries(boards, "1.2")))])


EDITS: list[tuple[str, dict[str, Any], str]] = [
    ("another digest", {"digest": "ab" * 32}, "expected the digest of an entry of steps@1.0"),
    ("another protocol", {"protocol": "other@1.0"}, "expected an older version of 'steps'"),
    ("a newer version", {"protocol": "steps@2.0"}, "expected an older version of 'steps'"),
    ("a version without a board", {"protocol": "steps@0.9"}, "expected the digest of an entry of steps@0.9"),
]


@pytest.mark.parametrize(("origin", "told"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_an_origin_that_is_none_is_refused(boards: Path, tmp_path: Path, origin: dict[str, Any], told: str) -> None:
    move(boards, "1.0", "1.1")
    [path, *_] = entries(boards, "1.1")
    plain = json.loads(path.read_text())
    plain["origins"][0] |= origin
    path.write_text(json.dumps(plain))
    assert broken(boards) == ["MB804"]
    path.unlink()
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(plain))
    with pytest.raises(RefusedError, match=f"MB804 .*{told}"):
        add_records([mine], boards, recheck=Recheck(REGISTRY).findings)


def test_numbers_that_are_not_those_of_the_origin_are_refused(boards: Path) -> None:
    move(boards, "1.0", "1.1")
    [path, *_] = entries(boards, "1.1")
    record = load_record(path)
    inputs = {**record.inputs, "reconstructions": "ab" * 32}
    save_record(seal(record.model_copy(update={"inputs": inputs})), path.parent)
    assert broken(boards) == ["MB804"]


def test_the_board_keeps_its_own_protocol(boards: Path) -> None:
    move(boards, "1.0", "1.1")
    frozen = boards / "steps" / "1.1" / "protocol.yaml"
    frozen.write_text(frozen.read_text().replace("seeds: [3, 4, 5]", "seeds: [3, 4, 5, 6]"))
    with pytest.raises(UsageError, match=r"the board of steps@1\.1 has a protocol with digest .* seeds"):
        move(boards, "1.0", "1.1")
