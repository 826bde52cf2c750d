"""Rows as files under ``.eval_results/`` of model repositories on Hugging Face: one number each, high is good.

The format has one number for a task, no interval, and takes high for good. A headline that is a fraction becomes 100
times what does *not* leak. Another one (bits) becomes 100 times the share of the way from gold down to the floor: one
less the normalised leakage. What this leaves out is said in ``notes``, with the address of the board.
"""

from __future__ import annotations

import yaml

from mibench.exchange.cite import row_slug
from mibench.leaderboard.board import ProtocolBoard
from mibench.leaderboard.row import Row
from mibench.results.display import printable, rounded


def eval_results(section: ProtocolBoard, row: Row, dataset: str, url: str, date: str) -> tuple[str, str] | None:
    """Return the name of a row's file and its YAML; ``None`` for a row whose number cannot be told in that form.

    Args:
        section: the board.
        row: the row.
        dataset: ``organization/name`` of the benchmark's data set repository.
        url: address of the row's board; the format wants one.
        date: ``YYYY-MM-DD``.
    """
    value = safety(row)
    if value is None:
        return None
    leak = rounded(row.leakage.value, row.leakage.ci95)
    rank = f"rank {row.rank}" if row.rank else "no rank"
    how = "1 - leakage" if row.unit == "fraction" else "1 - normalised leakage"
    notes = (
        f"100 x ({how}); {section.headline} {leak} {row.unit}, worst case over {len(row.attacks)} attacks; {rank}; "
        f"protocol digest {section.digest[:12]}"
    )
    entry = {
        "dataset": {"id": dataset, "task_id": row.protocol.replace("@", "-")},
        "value": value,
        "date": date,
        "source": {"url": url, "name": f"mibench {row.protocol}"},
        "notes": printable(notes, 500),
    }
    name = f"{row_slug(row)}/.eval_results/mibench-{row.protocol.replace('@', '-')}.yaml"
    return name, yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=1000)


def safety(row: Row) -> float | None:
    """Return how little a row leaks, in percent; ``None`` where neither a fraction nor a normalised leakage tells."""
    if row.unit == "fraction":
        return round(100 * (row.leakage.value if row.higher_is_better else 1 - row.leakage.value), 4)
    return None if row.normalized is None else round(100 * (1 - row.normalized), 4)
