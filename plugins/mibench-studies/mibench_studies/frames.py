"""Evidence as pandas frames: one row for each attacked target, or for each target with its worst attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mibench.api import CellResult, Number, StudyEvidence, Table

USELESS = "target-useless"
"""Flag of a target that is hardly better than guessing: that it leaks little tells nothing."""
ROBUST = "robust_acc@"
"""What the columns of robust accuracies begin with; the radius times 255 follows."""


def cells_frame(evidence: StudyEvidence) -> pd.DataFrame:
    """Return one row for each attack on each target.

    Columns: ``arm``, ``family``, ``defense``, ``attack``, ``access``, ``seed``, ``leakage`` (the headline, larger is
    more), ``normalised`` (between floor 0 and gold 1), ``attack_accuracy`` (worst evaluator), ``accuracy``, ``useless``
    (hardly better than guessing), each robust accuracy as ``robust_acc@<radius x 255>``, and every other column of the
    records under its own name.
    """
    return pd.DataFrame([_row(cell) for cell in evidence.cells])


def targets_frame(evidence: StudyEvidence) -> pd.DataFrame:
    """Return one row for each trained target: as :func:`cells_frame`, leakage being the worst over its attacks.

    ``attack`` names the attack that reached it; ``attacks`` is how many there were. Numbers of the target itself are
    the same under all of them. A worst case over more attacks is larger by that alone, so only the attacks that most
    targets met count, and targets that met all of these; see :func:`attack_notes`.
    """
    cells = cells_frame(evidence)
    if cells.empty:
        return cells
    counted = common_attacks(cells)
    cells = cells[cells["attack"].isin(counted)]
    cells = cells[cells.groupby(["arm", "seed"])["attack"].transform("nunique") == len(counted)]
    groups = cells.groupby(["arm", "seed"], sort=False)
    rows = cells.loc[groups["leakage"].idxmax()].reset_index(drop=True)
    for column in ("normalised", "attack_accuracy"):
        rows[column] = groups[column].max().to_numpy()
    rows["attacks"] = groups.size().to_numpy()
    return rows


def common_attacks(cells: pd.DataFrame) -> list[str]:
    """Return the attacks that as many targets met as any attack."""
    met = cells.drop_duplicates(["arm", "seed", "attack"])["attack"].value_counts(sort=False)
    return [str(name) for name in dict.fromkeys(cells["attack"]) if met[name] == met.max()]


def attack_notes(evidence: StudyEvidence) -> tuple[str, ...]:
    """Return notes on attacks and targets that a worst case leaves out."""
    cells = cells_frame(evidence)
    if cells.empty:
        return ()
    counted, targets = common_attacks(cells), targets_frame(evidence)
    left = [name for name in dict.fromkeys(cells["attack"]) if name not in counted]
    fewer = len(cells.drop_duplicates(["arm", "seed"])) - len(targets)
    notes = [f"Worst case over {', '.join(counted)}."]
    notes += [f"Not all targets met {', '.join(left)}, which are left out."] if left else []
    notes += [f"{fewer} targets did not meet all of these and are left out."] if fewer else []
    return tuple(notes)


def arms_frame(targets: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each arm: means over seeds of all numbers, and how many seeds there are."""
    numbers = [name for name in targets.select_dtypes("number").columns if name not in ("seed", "attacks")]
    groups = targets.groupby("arm", sort=False)
    made = groups[numbers].mean()
    made.insert(0, "family", groups["family"].first())
    made["seeds"] = groups.size()
    return made.reset_index()


def robust_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of robust accuracies, smallest radius first."""
    return sorted(
        (name for name in frame.columns if name.startswith(ROBUST)), key=lambda name: float(name[len(ROBUST) :])
    )


def as_table(frame: pd.DataFrame, title: str) -> Table:
    """Return a frame as a table of a page; what is not a number becomes ``None``."""
    rows = [tuple(None if pd.isna(cell) else _plain(cell) for cell in row) for row in frame.itertuples(index=False)]
    return Table(title=title, columns=tuple(map(str, frame.columns)), rows=tuple(rows))


def as_frame(table: Table) -> pd.DataFrame:
    """Return a table of a page as a frame."""
    return pd.DataFrame(list(table.rows), columns=list(table.columns))


def as_frames(tables: Mapping[str, Table]) -> dict[str, pd.DataFrame]:
    """Return all tables of findings as frames, by name: ``as_frames(run_study("mechanism").findings.tables)``."""
    return {name: as_frame(table) for name, table in tables.items()}


def _row(cell: CellResult) -> dict[str, Any]:
    lead = cell.metrics[cell.headline]
    row: dict[str, Any] = {
        "arm": cell.arm,
        "family": cell.family,
        "defense": cell.defense,
        "attack": cell.attack,
        "access": cell.access,
        "seed": cell.seed,
        "leakage": -lead.value if lead.higher_is_better else lead.value,
        "normalised": cell.leakage,
        "attack_accuracy": _worst(cell.metrics),
        "accuracy": _accuracy(cell.metrics),
        "useless": USELESS in cell.flags,
    }
    for name, number in cell.metrics.items():
        meant = number.quantity
        if meant.role == "robust_accuracy" and meant.radius is not None and not (meant.attack or meant.part):
            row[f"{ROBUST}{meant.radius * 255:.4g}"] = number.value
        elif name not in row:
            row[name] = number.value
    return row


def _accuracy(metrics: Mapping[str, Number]) -> float | None:
    found = [
        n.value for n in metrics.values() if n.quantity.role == "accuracy" and n.quantity.k == 1 and not n.quantity.part
    ]
    return found[0] if found else None


def _worst(metrics: Mapping[str, Number]) -> float | None:
    named = [
        (n.quantity.evaluator, n.value)
        for n in metrics.values()
        if n.quantity.role == "attack_accuracy" and n.quantity.k == 1
    ]
    judges = [value for judge, value in named if judge] or [value for _, value in named]
    return max(judges) if judges else None


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell


def need_columns(evidence: StudyEvidence, frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse records without columns that an analysis reads.

    Raises:
        TooFewRecords: if a column is absent everywhere.
    """
    for name in names:
        have = int(frame[name].notna().sum()) if name in frame else 0
        evidence.require(have, 1, f"records with the column {name}")


def useful(targets: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the targets that are better than guessing, and a note on those that are not."""
    if targets.empty or not targets["useless"].any():
        return targets, ()
    arms = ", ".join(dict.fromkeys(targets.loc[targets["useless"], "arm"]))
    note = f"{int(targets['useless'].sum())} targets are hardly better than guessing and left out: {arms}."
    return targets[~targets["useless"]].reset_index(drop=True), (note,)
