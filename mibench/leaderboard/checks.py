"""What a record must satisfy to be on a board: a table of small rules with stable identifiers.

Families: MB1xx schema and parts, MB2xx identity and digest, MB3xx protocol, MB5xx controls, MB6xx numbers, MB7xx
provenance, MB8xx board structure. MB4xx (statistics) and MB9xx (presentation) are reserved. Rules that need the
installed components (MB111, MB112, MB205, MB614) are in ``mibench.assemble.recheck``.
"""

from __future__ import annotations

from mibench.leaderboard import number_rules as numbers
from mibench.leaderboard import part_rules as parts
from mibench.leaderboard import protocol_rules as frozen
from mibench.leaderboard import record_rules as basic
from mibench.leaderboard.finding import Finding, Rule
from mibench.protocol.load import LoadedProtocol
from mibench.results.record import Record

RULES: tuple[Rule, ...] = (
    Rule("MB101", basic.is_done),
    Rule("MB102", basic.is_test_variant),
    Rule("MB103", basic.names_are_plain),
    Rule("MB104", basic.components_are_stated),
    Rule("MB105", parts.components_are_complete),
    Rule("MB106", parts.inputs_are_complete),
    Rule("MB107", parts.classes_are_complete),
    Rule("MB108", parts.ledger_is_complete),
    Rule("MB109", parts.self_check_is_there),
    Rule("MB110", parts.flags_are_computed),
    Rule("MB113", parts.size_is_that_of_numbers),
    Rule("MB201", basic.digest_fits),
    Rule("MB202", basic.key_is_sha256),
    Rule("MB301", frozen.protocol_fits),
    Rule("MB302", frozen.seed_is_listed),
    Rule("MB303", frozen.attack_is_frozen),
    Rule("MB304", frozen.headline_is_there),
    Rule("MB305", frozen.model_is_plain),
    Rule("MB311", frozen.attacked_classes_fit),
    Rule("MB501", frozen.controls_are_there),
    Rule("MB601", numbers.fractions_are_fractions),
    Rule("MB602", numbers.accuracies_are_ordered),
    Rule("MB603", numbers.robustness_is_ordered),
    Rule("MB604", numbers.robustness_is_below_clean),
    Rule("MB605", numbers.normalisation_fits),
    Rule("MB606", numbers.intervals_fit),
    Rule("MB607", numbers.shares_are_averages),
    Rule("MB608", numbers.ranks_fit),
    Rule("MB609", numbers.judges_fit),
    Rule("MB610", numbers.images_are_counted),
    Rule("MB611", numbers.radii_fit),
    Rule("MB612", numbers.undefended_is_undefended),
    Rule("MB701", basic.command_is_there),
)
"""Every rule that needs only a record and its protocol, in the order of checking. Identifiers are never reused."""

_ENDS = frozenset({"MB101", "MB103"})


def check_record(record: Record, protocol: LoadedProtocol) -> list[Finding]:
    """Return every rule that a record breaks on the board of a protocol.

    A failed cell or an ill-formed name ends the check: the other rules would only add noise.
    """
    found: list[Finding] = []
    for rule in RULES:
        found += [Finding(rule.id, text) for text in rule.check(record, protocol)]
        if found and rule.id in _ENDS:
            break
    return found
