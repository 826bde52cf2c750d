"""All rules of the boards as data: identifier, sentence, what breaks each and what keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mibench.api.errors import unknown
from mibench.leaderboard.rules import RULES
from mibench.protocol.strict_yaml import parse_yaml

ABSENT = "(absent)"
"""Stands in an example for a field that is not there."""
LONG = "(2 000 000 letters)"
"""Stands in an example for a text of that length."""

STANDING = (ABSENT, LONG)

Example = str | Mapping[str, Any]
"""Changes to a sound record by dotted field (a name may hold a dot: the longest that fits counts), or words."""


@dataclass(frozen=True)
class RuleText:
    """A rule for readers.

    Attributes:
        id: identifier; it never means anything else.
        sentence: what the rule demands.
        breaks: an example that is refused.
        keeps: one that is not, by this rule.
    """

    id: str
    sentence: str
    breaks: Example
    keeps: Example

    def words(self, example: Example) -> str:
        """Return an example as one line."""
        if isinstance(example, str):
            return example
        if not example:
            return "the record as the run wrote it"
        return ", ".join(
            f"{field} is {str(value).strip('()') if value in STANDING else repr(value)}"
            for field, value in example.items()
        )


def catalogue(chosen: str | None = None) -> list[RuleText]:
    """Return all rules by identifier, or one of them.

    Raises:
        UsageError: for an identifier that no rule has.
    """
    found = _all()
    if chosen is None:
        return list(found.values())
    if chosen not in found:
        raise unknown("rule", chosen, set(found))
    return [found[chosen]]


@cache
def _all() -> Mapping[str, RuleText]:
    """Read the rules once: it takes a tenth of a second."""
    sentences = {rule.id: rule.sentence for rule in RULES}
    text = files("mibench.leaderboard").joinpath("rules.yaml").read_text(encoding="utf-8")
    return {
        name: RuleText(name, item.get("says") or sentences[name], item["breaks"], item["keeps"])
        for name, item in sorted(parse_yaml(text, "rules.yaml").items())
    }


def as_json(rules: list[RuleText]) -> list[dict[str, Any]]:
    """Return rules as plain values, for programs."""
    return [asdict(rule) for rule in rules]
