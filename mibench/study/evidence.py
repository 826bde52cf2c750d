"""From records to what an analysis may read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.api.study import CellResult, Design, Difference, Number, StudyEvidence
from mibench.leaderboard.variants import component_digest, is_baseline
from mibench.results.columns import quantity
from mibench.results.differing_params import defense_names
from mibench.results.io import label, load_record
from mibench.results.normalize import headline, record_leakage
from mibench.results.paired import compare
from mibench.results.people import scores_of
from mibench.results.record import MetricValue, Record

ByArm = Mapping[str, Sequence[Record]]


def load_records(folders: Iterable[Path]) -> list[Record]:
    """Load the records in folders, and in those below them.

    Raises:
        UsageError: if a folder holds none.
        RecordError: for a file that is no record.
    """
    found: list[Record] = []
    for folder in folders:
        paths = [path for path in sorted(folder.rglob("*.json")) if _is_record(path)] if folder.is_dir() else []
        if not paths:
            raise UsageError(
                f"{folder} holds no records; name folders of them, as a run's records/ or a board's entries/"
            )
        found += [load_record(path) for path in paths]
    return found


def _is_record(path: Path) -> bool:
    return path.name not in {"design.json", "verdict.json"} and not path.name.startswith(".")


def by_arm(records: Sequence[Record], arms: Mapping[str, tuple[str, ...]], *, adopt: bool) -> dict[str, list[Record]]:
    """Return finished records of attacks by arm.

    Args:
        records: any.
        arms: names of arms by key of a cell.
        adopt: give records that fit no arm to the one whose targets are trained alike, such as those of further attacks
            or seeds; what has none gets an arm of its own, one for each defense with its parameters.
    """
    found: defaultdict[str, list[Record]] = defaultdict(list)
    strays: list[Record] = []
    for record in {record.cell.key: record for record in records}.values():
        if record.status != "done" or headline(record) is None or is_baseline(record):
            continue
        names = arms.get(record.cell.key, ())
        for name in names:
            found[name].append(record)
        strays += [] if names else [record]
    if adopt:
        planned, homes = {name for names in arms.values() for name in names}, _homes(found)
        alone: list[Record] = []
        for record in strays:
            names = tuple(homes.get(_trained_as(record), ()))
            (found[names[0]] if len(names) == 1 else alone).append(record)
        for name, record in zip(defense_names(alone), alone, strict=True):
            found[f"{name}, other settings" if name in planned else name].append(record)
    return dict(found)


def _homes(found: ByArm) -> Mapping[tuple[str, ...], set[str]]:
    """Return the arms that have targets of each kind."""
    homes: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, records in found.items():
        for record in records:
            homes[_trained_as(record)].add(name)
    return homes


def _trained_as(record: Record) -> tuple[str, ...]:
    return record.cell.model, record.cell.defense, component_digest(record, "defense")


def make_evidence(
    study: str,
    design: Design,
    found: ByArm,
    families: Mapping[str, str],
    *,
    absent: Sequence[tuple[str, str]],
    command: str,
) -> StudyEvidence:
    """Return the evidence of a study.

    Args:
        study: its name.
        design: as it was written down.
        found: records by arm.
        families: of defenses by name, for arms that state none.
        absent: label and reason of what has no record.
        command: makes what is missing.

    Raises:
        UsageError: if the records are of several protocols.
    """
    records = [record for group in found.values() for record in group]
    protocols = {f"{r.protocol.name}@{r.protocol.version} {r.protocol.variant} {r.protocol.digest}" for r in records}
    if len(protocols) > 1:
        raise UsageError(
            f"the study {study} was given records of {len(protocols)} protocols; numbers of different protocols do not"
            " compare. Name folders of one, or other --protocol."
        )
    first = records[0] if records else None
    lead = headline(first) if first else None
    stated = {arm.name: arm.family for arm in design.arms}
    return StudyEvidence(
        study=study,
        protocol=f"{first.protocol.name}@{first.protocol.version}" if first else "",
        headline=first.protocol.headline if first else "",
        unit=lead.unit if lead else "",
        design=design,
        cells=tuple(
            _cell(name, stated.get(name) or families.get(record.cell.defense, ""), record)
            for name in (*(name for name in stated if name in found), *sorted(found.keys() - stated.keys()))
            for record in sorted(found[name], key=lambda record: (record.cell.seed, record.cell.attack_label))
        ),
        absent=tuple(absent),
        command=command,
        compare=lambda one, other, attacks: _compare(found, one, other, attacks),
    )


def failures(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return label and reason of failed cells."""
    return [
        (label(record), f"{record.failure.stage}: {record.failure.error}" if record.failure else "no reason was stated")
        for record in records
        if record.status == "failed"
    ]


def _cell(arm: str, family: str, record: Record) -> CellResult:
    defense, attack = record.components.get("defense"), record.components.get("attack")
    return CellResult(
        arm=arm,
        family=family,
        model=record.cell.model,
        defense=record.cell.defense,
        params=defense.params if defense else {},
        attack=record.cell.attack_label,
        access=(attack.access or "") if attack else "",
        seed=record.cell.seed,
        metrics=_numbers(record.metrics),
        controls={str(name): _numbers(values) for name, values in record.controls.items()},
        headline=record.protocol.headline,
        leakage=record_leakage(record),
        flags=tuple(flag.id for flag in record.flags),
        signals={name: value for name, value in record.self_check.signals.items() if isinstance(value, int | float)},
    )


def _numbers(metrics: Mapping[str, MetricValue]) -> dict[str, Number]:
    return {
        name: Number(
            value=found.value,
            ci95=found.ci95,
            unit=found.unit,
            higher_is_better=found.higher_is_better,
            quantity=quantity(name, found),
            per_class=tuple(found.per_class),
            details=found.details,
        )
        for name, found in metrics.items()
    }


def _compare(found: ByArm, one: str, other: str, attacks: tuple[str, ...]) -> Difference | None:
    """Compare two arms on the people, seeds and attacks that both have."""
    pair = []
    for arm in (one, other):
        groups: defaultdict[str, list[Record]] = defaultdict(list)
        for record in found.get(arm, ()):
            if not attacks or record.cell.attack_label in attacks:
                groups[record.cell.attack_label].append(record)
        if not groups:
            return None
        pair.append(scores_of(groups, next(iter(groups.values()))[0].protocol.headline))
    made = compare(*pair)
    if made is None:
        return None
    return Difference(value=made.value, ci95=made.ci95, p=made.p, people=made.people, seeds=len(made.seeds))
