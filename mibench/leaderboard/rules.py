"""What a record must satisfy to be on a board: a table of small rules with stable identifiers.

Families: MB1xx schema and parts, MB2xx identity and digest, MB3xx protocol, MB5xx controls, MB6xx numbers, MB7xx
provenance, MB8xx boards: their structure (MB80x), withdrawals (MB81x), what became of an earlier state (MB82x), MB9xx
attestations. MB4xx (statistics) is reserved. Rules that need the installed components (MB111, MB112, MB205, MB614) are
in ``mibench.assemble.recheck``.
"""

from __future__ import annotations

from mibench.leaderboard import number_rules as numbers
from mibench.leaderboard import part_rules as parts
from mibench.leaderboard import protocol_rules as frozen
from mibench.leaderboard import record_rules as basic
from mibench.leaderboard.finding import BoardRule, Finding
from mibench.protocol.load import LoadedProtocol
from mibench.results.record import Record

RULES: tuple[BoardRule, ...] = (
    BoardRule("MB101", basic.is_done),
    BoardRule("MB102", basic.is_test_variant),
    BoardRule("MB103", basic.names_are_plain),
    BoardRule("MB104", basic.components_are_stated),
    BoardRule("MB105", parts.components_are_complete),
    BoardRule("MB106", parts.inputs_are_complete),
    BoardRule("MB107", parts.classes_are_complete),
    BoardRule("MB108", parts.ledger_is_complete),
    BoardRule("MB109", parts.self_check_is_there),
    BoardRule("MB110", parts.flags_are_computed),
    BoardRule("MB113", parts.size_is_that_of_numbers),
    BoardRule("MB201", basic.digest_fits),
    BoardRule("MB202", basic.key_is_sha256),
    BoardRule("MB301", frozen.protocol_fits),
    BoardRule("MB302", frozen.seed_is_listed),
    BoardRule("MB303", frozen.attack_is_frozen),
    BoardRule("MB304", frozen.headline_is_there),
    BoardRule("MB305", frozen.model_is_plain),
    BoardRule("MB306", frozen.model_is_trained_here),
    BoardRule("MB311", frozen.attacked_classes_fit),
    BoardRule("MB312", frozen.prior_is_frozen),
    BoardRule("MB501", frozen.controls_are_there),
    BoardRule("MB601", numbers.fractions_are_fractions),
    BoardRule("MB602", numbers.accuracies_are_ordered),
    BoardRule("MB603", numbers.robustness_is_ordered),
    BoardRule("MB604", numbers.robustness_is_below_clean),
    BoardRule("MB605", numbers.normalisation_fits),
    BoardRule("MB606", numbers.intervals_fit),
    BoardRule("MB607", numbers.shares_are_averages),
    BoardRule("MB608", numbers.ranks_fit),
    BoardRule("MB609", numbers.judges_fit),
    BoardRule("MB610", numbers.images_are_counted),
    BoardRule("MB611", numbers.radii_fit),
    BoardRule("MB612", numbers.undefended_is_undefended),
    BoardRule("MB613", numbers.controls_are_alike),
    BoardRule("MB615", numbers.sizes_are_possible),
    BoardRule("MB616", numbers.bits_fit),
    BoardRule("MB701", basic.command_is_there),
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
