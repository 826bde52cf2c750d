"""Rules about numbers (MB6xx): what per-class values, ranks and the other numbers of a record determine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mibench.leaderboard.finding import Problem, differs
from mibench.protocol.load import LoadedProtocol
from mibench.results.agreement import judges_agree, ranks_agree
from mibench.results.averages import average_of
from mibench.results.bits import bits_agree
from mibench.results.columns import clean_accuracy, is_share, quantity, radius
from mibench.results.identities import accuracy_order, robust_below_clean, robust_order
from mibench.results.intervals import class_interval
from mibench.results.normalize import record_leakage
from mibench.results.record import MetricValue, Record

ROUNDING = 1e-9
LARGEST = 1e15
"""No metric has larger numbers: up to here floats tell whole numbers apart, so operations of a network can be counted,
and squares and their sums, which comparisons make of them, stay far from the largest float."""


def fractions_are_fractions(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Fractions lie in [0, 1]."""
    for field, metric in _all_metrics(record):
        values = [metric.value, *(value for value in metric.per_class if value is not None)]
        if metric.unit == "fraction" and not all(0 <= value <= 1 for value in values):
            yield differs(field, "fractions in [0, 1]", next(value for value in values if not 0 <= value <= 1))


def accuracies_are_ordered(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Accuracy@1 is at most accuracy@5."""
    for place, metrics in groups(record):
        yield from (Problem(place, text) for text in accuracy_order(metrics))


def robustness_is_ordered(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Robust accuracy never rises with the radius."""
    yield from (Problem("metrics", text) for text in robust_order(record.metrics))


def robustness_is_below_clean(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Robust accuracy is at most clean accuracy."""
    yield from (Problem("metrics", text) for text in robust_below_clean(record.metrics))


def normalisation_fits(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The stated normalised leakage is the one that its parts give."""
    stated, computed = record.normalized_leakage, record_leakage(record)
    if (stated is None) != (computed is None) or (stated is not None and abs(stated - (computed or 0.0)) > 1e-6):
        yield differs("normalized_leakage", f"{computed} from headline, floor and gold", stated)


def intervals_fit(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Intervals are those that the bootstrap over the per-class values gives: it has one random stream for all."""
    for field, metric in _all_metrics(record):
        own = class_interval(metric.per_class)
        fits = (own is None) == (metric.ci95 is None)
        if fits and own and metric.ci95:
            slack = ROUNDING * max(1.0, *map(abs, own))
            fits = all(abs(ours - theirs) <= slack for ours, theirs in zip(own, metric.ci95, strict=True))
        if not fits:
            yield differs(f"{field}.ci95", f"{own} from its per-class values", metric.ci95)


def shares_are_averages(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The share of images that were hit is the mean of the shares of the classes, each counted by its images."""
    for place, metrics in groups(record):
        for name, metric in metrics.items():
            if is_share(name, metric):
                yield from average_fits(f"{place}.{name}", metric)


def average_fits(field: str, metric: MetricValue) -> Iterator[Problem]:
    """Yield what is wrong about a value that is the mean of one value per image."""
    made = average_of(metric)
    if made is None:
        yield differs(f"{field}.per_class", f"values of at least one class and counts of {metric.n} images", "others")
        return
    slack = ROUNDING * max(1.0, abs(metric.value))
    if not made.low - slack <= metric.value <= made.high + slack:
        expected = made.low if made.exact else f"{made.low} to {made.high}"
        yield differs(f"{field}.value", f"{expected} from its per-class values", metric.value)
    elif metric.ci95 and not metric.ci95[0] - slack <= metric.value <= metric.ci95[1] + slack:
        yield differs(f"{field}.ci95", f"an interval around {metric.value}", metric.ci95)


def ranks_fit(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Where ranks are stated, the shares of a column family are those of the ranks."""
    failed = len(record.ledger.failed)
    for place, metrics in groups(record):
        for found in ranks_agree(metrics, failed if place == "metrics" else None):
            yield differs(f"{place}.{found.field}", found.expected, found.got)


def bits_fit(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Bits among so many people are at most log2 of their number, and where places are stated those of the places."""
    failed = len(record.ledger.failed)
    for place, metrics in groups(record):
        for found in bits_agree(metrics, failed if place == "metrics" else None):
            yield differs(f"{place}.{found.field}", found.expected, found.got)


def judges_fit(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """A mean over judges is the mean of their columns."""
    for place, metrics in groups(record):
        for found in judges_agree(metrics):
            yield differs(f"{place}.{found.field}", found.expected, found.got)


def images_are_counted(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """One value for each class; gold and clean accuracy are of all test images, a family of the same images.

    Gold is one portrait of each person where the protocol compares with portraits.
    """
    split, gallery = protocol.protocol.split, protocol.protocol.gallery
    golden = 1 if gallery and gallery.images == "portraits" else split.test
    classes, attacked = split.private, record.attacked_classes
    clean = clean_accuracy(record.metrics)
    for place, metrics in groups(record):
        for name, metric in metrics.items():
            field, measured = f"{place}.{name}", sum(value is not None for value in metric.per_class)
            if len(metric.per_class) != classes:
                yield differs(f"{field}.per_class", f"{classes} values", len(metric.per_class))
            people, each = (attacked, golden) if place == "controls.gold" else (classes, split.test)
            exact = place == "controls.gold" or metric is clean
            if exact and metric.n != people * each:
                yield differs(f"{field}.n", f"the {people * each} test images of {people} classes", metric.n)
            elif metric.n < 1 or (metric.n < measured - len(record.ledger.failed) and 0.0 not in metric.per_class):
                yield differs(f"{field}.n", f"at least {max(1, measured)} images", metric.n)
        yield from _one_count(place, metrics)


def _one_count(place: str, metrics: Mapping[str, MetricValue]) -> Iterator[Problem]:
    """All columns of one place that count reconstructions count the same ones."""
    shares = {name: metric.n for name, metric in metrics.items() if is_share(name, metric)}
    leak = {name: n for name, n in shares.items() if metrics[name].group == "leakage"}
    common = max(leak.values(), key=list(leak.values()).count, default=0)
    yield from (
        differs(f"{place}.{name}.n", f"{common} as in its neighbours", n) for name, n in leak.items() if n != common
    )


def radii_fit(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The radius that a robust column states in its details is the one in its name, or beside it."""
    for name, metric in record.metrics.items():
        named, stated = quantity(name, metric).radius, radius(name, metric)
        if named is not None and stated is not None and abs(named - stated) > 1e-3 * named:
            yield differs(f"metrics.{name}.details.eps", named, stated)


def undefended_is_undefended(record: Record, protocol: LoadedProtocol) -> Iterator[Problem]:
    """A cell without a defense is its own undefended control."""
    if record.cell.defense != protocol.protocol.undefended.name:
        return
    control = {str(name): values for name, values in record.controls.items()}.get("undefended", {})
    for name, metric in control.items():
        own = record.metrics.get(name)
        if own is None or own.value != metric.value or own.per_class != metric.per_class:
            yield differs(f"controls.undefended.{name}", f"the cell's own {own and own.value}", metric.value)


def controls_are_alike(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """A column of a control has the unit, direction and group of the cell's own column beside which it stands."""
    for place, metrics in groups(record):
        for name, metric in metrics.items():
            own = record.metrics.get(name, metric)
            for field in ("unit", "higher_is_better", "group"):
                if getattr(own, field) != getattr(metric, field):
                    yield differs(f"{place}.{name}.{field}", getattr(own, field), getattr(metric, field))


def sizes_are_possible(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Numbers lie between -1e15 and 1e15, so that boards can compute with them."""
    numbers: dict[str, list[float | None]] = {"normalized_leakage": [record.normalized_leakage]}
    for field, metric in _all_metrics(record):
        numbers[field] = [metric.value, *(metric.ci95 or ()), *metric.per_class]
    for field, values in numbers.items():
        beyond = [value for value in values if value is not None and not abs(value) <= LARGEST]
        if beyond:
            yield differs(field, f"numbers from {-LARGEST:.0e} to {LARGEST:.0e}", beyond[0])


def groups(record: Record) -> Iterator[tuple[str, Mapping[str, MetricValue]]]:
    """Yield the numbers of a record by where they stand: ``metrics``, ``controls.gold``, ..."""
    yield "metrics", record.metrics
    for control, metrics in record.controls.items():
        yield f"controls.{control}", metrics


def _all_metrics(record: Record) -> Iterator[tuple[str, MetricValue]]:
    for place, metrics in groups(record):
        for name, metric in metrics.items():
            yield f"{place}.{name}", metric
