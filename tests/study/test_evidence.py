"""From records to evidence: arms, order, what is left out, and comparisons that are those of boards."""

import pytest
from record_factory import make_record

from mibench.api import Arm, Design, UsageError
from mibench.results.paired import compare
from mibench.results.people import scores_of
from mibench.study.evidence import by_arm, make_evidence

DESIGN = Design(arms=(Arm(name="second", family="made-up"), Arm(name="first")))


def records():
    return [
        make_record(defense=defense, seed=seed, leakage=leakage)
        for defense, leakage in (("atat", 0.2), ("none", 0.5))
        for seed in (1, 0)
    ]


def evidence(found, **more):
    return make_evidence("tested", DESIGN, found, {"atat": "at-at", "none": ""}, absent=(), command="", **more)


def test_records_stand_under_their_arms_in_the_order_of_the_design():
    made = records()
    arms = {record.cell.key: ("first",) if record.cell.defense == "none" else ("second",) for record in made}
    found = evidence(by_arm(made, arms, adopt=False))
    assert [(cell.arm, cell.seed) for cell in found.cells] == [("second", 0), ("second", 1), ("first", 0), ("first", 1)]
    assert found.cells[0].family == "made-up"
    assert found.headline == made[0].protocol.headline
    lead = found.cells[0].metrics[found.headline]
    assert lead.value == pytest.approx(made[1].metrics[found.headline].value)
    assert len(lead.per_class) == len(made[0].metrics[found.headline].per_class)


def test_comparisons_are_those_of_boards():
    made = records()
    groups = {name: [record for record in made if record.cell.defense == name] for name in ("atat", "none")}
    found = evidence({"second": groups["atat"], "first": groups["none"]}).compare("second", "first", ())
    scores = [scores_of({"ppa": groups[name]}, made[0].protocol.headline) for name in ("atat", "none")]
    theirs = compare(*scores)
    assert (found.value, found.ci95, found.p) == (theirs.value, theirs.ci95, theirs.p)
    assert (found.people, found.seeds) == (theirs.people, 2)
    assert found.value == pytest.approx(-0.3)
    assert evidence({"second": groups["atat"]}).compare("second", "first", ()) is None
    assert evidence({"second": groups["atat"], "first": groups["none"]}).compare("second", "first", ("gmi",)) is None


def test_strays_are_left_out_or_adopted_under_names_of_their_own():
    made = [*records(), make_record(defense="atat", seed=0, attack="prior", leakage=0.1)]
    assert by_arm(made, {}, adopt=False) == {}
    adopted = by_arm(made, {}, adopt=True)
    assert set(adopted) == {"atat", "none"}
    assert evidence(adopted).cells[0].family == "at-at"


def test_further_attacks_and_seeds_of_a_planned_target_join_its_arm():
    made = [*records(), make_record(defense="atat", seed=0, attack="prior", leakage=0.1)]
    found = by_arm(made, {made[0].cell.key: ("first",)}, adopt=True)
    assert {name: len(group) for name, group in found.items()} == {"first": 3, "none": 2}


def test_other_settings_of_a_planned_defense_and_arms_that_share_their_targets_keep_strays_apart():
    other = make_record(defense="atat", params={"lam": 3.0})
    plain = make_record(defense="atat")
    found = by_arm([plain, other], {plain.cell.key: ("atat",)}, adopt=True)
    assert found == {"atat": [plain], "atat, other settings": [other]}
    further = make_record(defense="atat", attack="prior")
    found = by_arm([plain, further], {plain.cell.key: ("one", "two")}, adopt=True)
    assert {name: len(group) for name, group in found.items()} == {"one": 1, "two": 1, "atat": 1}


def test_records_of_several_protocols_are_refused():
    made = records()
    other = made[0].model_copy(update={"protocol": made[0].protocol.model_copy(update={"digest": "0" * 64})})
    with pytest.raises(UsageError, match="2 protocols; numbers of different protocols do not compare"):
        evidence({"first": [made[1]], "second": [other]})
