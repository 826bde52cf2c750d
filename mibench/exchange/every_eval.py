"""Rows as Every Eval Ever 0.3.0 has them (evaleval/every_eval_ever, MIT): one JSON for each, with intervals.

Its fields are made for language models. A defended target is a model here; what has no field of its own is text under
``additional_details`` and ``details``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from mibench.base.canonical import digest
from mibench.base.version import __version__
from mibench.exchange.cite import records_digest, row_slug
from mibench.leaderboard.board import ProtocolBoard
from mibench.leaderboard.estimates import Estimate
from mibench.leaderboard.row import Row
from mibench.results.display import printable

SCHEMA = "0.3.0"
Relationship = Literal["first_party", "third_party", "collaborative", "other"]


class Source(NamedTuple):
    """Who hands the results over.

    Attributes:
        organization: name.
        relationship: of those who measured to those who made the defense.
        url: address of the board; empty if it is not known.
        date: ``YYYY-MM-DD``.
    """

    organization: str
    relationship: Relationship
    url: str
    date: str


def every_eval(section: ProtocolBoard, row: Row, source: Source) -> tuple[str, str]:
    """Return a row's file name, as that database lays files out, and its JSON; equal rows have equal names.

    The score is the leakage under the worst attack; accuracy, robust accuracy and attack accuracy stand beside it.
    """
    slug = row_slug(row)
    stamp = str(int(datetime.fromisoformat(source.date).replace(tzinfo=UTC).timestamp()))
    board = row.protocol.replace("@", "-")
    content = {
        "schema_version": SCHEMA,
        "evaluation_id": f"mibench-{board}/{slug}/{stamp}",
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": f"mibench {row.protocol}",
            "source_type": "evaluation_run",
            "source_organization_name": source.organization,
            **({"source_organization_url": source.url} if source.url else {}),
            "evaluator_relationship": source.relationship,
            "additional_details": {"records_digest": records_digest(row), "records": str(len(row.records))},
        },
        "eval_library": {"name": "mibench", "version": __version__},
        "model_info": _model(row),
        "evaluation_results": list(_results(section, row, source)),
    }
    code = digest({"protocol": section.digest, "row": slug, "records": records_digest(row)})
    name = f"{code[:8]}-{code[8:12]}-4{code[13:16]}-a{code[17:20]}-{code[20:32]}"
    path = f"data/mibench-{board}/{row_slug_part(row.defense)}/{slug}/{name}.json"
    return path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def row_slug_part(name: str) -> str:
    """Return a name as one part of a path."""
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name)[:64].strip(".") or "none"


def _model(row: Row) -> dict[str, Any]:
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "unknown",
        "defense": row.defense,
        "defense_version": row.defense_version,
        "defense_params": json.dumps(dict(row.params), sort_keys=True, default=str)[:2000],
        "architecture": row.model,
    }
    name = f"{row.model} defended by {row.defense}" + (f" ({row.note})" if row.note else "")
    plain = {key: printable(value, 2000) for key, value in details.items()}
    return {"name": printable(name), "id": f"mibench/{row_slug(row)}", "additional_details": plain}


def _results(section: ProtocolBoard, row: Row, source: Source) -> Iterator[dict[str, Any]]:
    shared = {
        "floor": row.floor,
        "lookalike": row.lookalike,
        "undefended": row.undefended,
        "gold": row.gold,
        "normalised": row.normalized,
    }
    told: dict[str, str] = {name: f"{value:.6g}" for name, value in shared.items() if value is not None}
    told |= {
        "worst_attack": row.worst_attack,
        "attacks": ", ".join(row.attacks),
        "seeds": ", ".join(map(str, row.seeds)),
    }
    told |= {"rank": str(row.rank)} if row.rank else {}
    told |= {"flags": ", ".join(flag.id for flag in row.flags)} if row.flags else {}
    if row.difference:
        told["minus_undefended"] = f"{row.difference.value:.6g}"
    found: list[tuple[str, str, Estimate | None, bool, str, Mapping[str, str]]] = [
        ("leakage", section.headline, row.leakage, not row.higher_is_better, row.unit, told),
        ("attack accuracy", "attack accuracy@1, worst judge and attack", row.attack_accuracy, True, "fraction", {}),
        ("accuracy", "accuracy on held-out images", row.accuracy, False, "fraction", {}),
        *(
            (f"robust accuracy {eps}/255", f"accuracy under AutoAttack, eps {eps}/255", made, False, "fraction", {})
            for eps, made in row.robust.items()
        ),
    ]
    for name, metric, made, low, unit, details in found:
        if made:
            yield _result(section, row, source, name, metric, made, low=low, unit=unit, details=details)


def _result(
    section: ProtocolBoard,
    row: Row,
    source: Source,
    name: str,
    metric: str,
    made: Estimate,
    *,
    low: bool,
    unit: str,
    details: Mapping[str, str],
) -> dict[str, Any]:
    score: dict[str, Any] = {"score": made.value}
    if details:
        score["details"] = {key: printable(value, 2000) for key, value in details.items()}
    score["uncertainty"] = {"num_samples": row.classes}
    if made.ci95:
        score["uncertainty"]["confidence_interval"] = {
            "lower": made.ci95[0],
            "upper": made.ci95[1],
            "confidence_level": 0.95,
            "method": "percentile bootstrap over people of their means over seeds",
        }
    config: dict[str, Any] = {
        "evaluation_description": printable(metric),
        "metric_name": printable(metric),
        "metric_unit": unit,
        "lower_is_better": low,
    }
    if unit == "fraction":
        config |= {"score_type": "continuous", "min_score": 0.0, "max_score": 1.0}
    data: dict[str, Any] = {"dataset_name": section.protocol, "source_type": "other"}
    if source.url:
        data = {"dataset_name": section.protocol, "source_type": "url", "url": [source.url]}
    data["additional_details"] = {"protocol_digest": section.digest, "summary": printable(section.summary)}
    return {
        "evaluation_name": f"{section.protocol} {name}",
        "source_data": data,
        "metric_config": config,
        "score_details": score,
    }
