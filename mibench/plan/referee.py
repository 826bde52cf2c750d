"""Whether a protocol can judge here: what it requires is installed, and its rows can become complete and be ranked."""

from __future__ import annotations

from mibench.api.errors import UsageError, suggestion
from mibench.api.specs import DefenseSpec, MetricSpec
from mibench.plan.choose import Chooser
from mibench.plan.resolve import Resolved, parse_choice


def check_referee(chooser: Chooser) -> None:
    """Refuse a protocol whose rows would lack something after everything has run.

    Raises:
        UsageError: if an attack of its suite, or a preset, is not installed or is a baseline, if its floor or lookalike
            is not one, if its undefended control says of itself that it protects, or if none of its metrics reports the
            headline.
    """
    protocol = chooser.protocol
    for text in protocol.suite:
        if _is_baseline(_required(chooser, text)):
            raise UsageError(
                f"{protocol.id} requires the attack {text!r} in its suite, which optimises nothing: a baseline is a"
                " control, and meets no requirement. Make it the floor or the lookalike, or leave it out."
            )
    for role, choice in {"floor": protocol.floor, "lookalike": protocol.lookalike}.items():
        if choice and not _is_baseline(chooser.frozen("attack", choice)):
            raise UsageError(
                f"{protocol.id} has the attack {choice.name!r} as its {role}, which optimises something: a control is a"
                " baseline, and leakage is counted from it; `mibench list attacks` says which they are."
            )
    _check_undefended(chooser)
    _check_headline(chooser)


def _required(chooser: Chooser, text: str) -> Resolved:
    try:
        return chooser.frozen("attack", chooser.protocol.attacks.get(text) or parse_choice(text))
    except UsageError as error:
        raise UsageError(
            f"{chooser.protocol.id} requires the attack {text!r} in its suite, which is not installed: {error}"
            f" Install the plugin that provides {text!r}, in the release that the protocol was made with."
        ) from None


def _is_baseline(attack: Resolved) -> bool:
    return bool(getattr(attack.registered.spec, "baseline", False))


def _check_undefended(chooser: Chooser) -> None:
    spec = chooser.undefended.registered.spec
    if isinstance(spec, DefenseSpec) and spec.family not in ("", "none"):
        raise UsageError(
            f"{chooser.protocol.id} has {spec.name!r} as its undefended control, a defense of the family"
            f" {spec.family!r}; every difference would be to that. Name plain training, a defense of the family 'none'."
        )


def _check_headline(chooser: Chooser) -> None:
    protocol, names = chooser.protocol, set[str]()
    for choice in protocol.metrics:
        metric = chooser.frozen("metric", choice)
        spec = metric.registered.spec
        if not isinstance(spec, MetricSpec) or not spec.columns:
            return  # it does not say what it reports
        judges = [evaluator.name for evaluator in protocol.evaluators]
        names |= {one.column.name for column in spec.columns for one in column.expand(metric.params, judges)}
    if protocol.headline not in names:
        raise UsageError(
            f"{protocol.id} ranks by {protocol.headline!r}, which none of its metrics reports."
            f"{suggestion(protocol.headline, names)} They report: {', '.join(sorted(names))}."
        )
