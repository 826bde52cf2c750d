"""The contract of studies finds what is wrong with one, and passes one that is sound."""

from dataclasses import dataclass
from typing import ClassVar

from fake_plugin.parts import Lottery

from mibench.api import Arm, Design, Findings
from mibench.testing import contract_for, run_checks


def verdicts(component):
    return {outcome.check: outcome.verdict for outcome in run_checks(contract_for("study", component))}


def test_a_sound_study_passes():
    found = verdicts(Lottery)
    assert set(found.values()) == {"passed", "skipped"}
    assert found["too_few_records_are_refused"] == "passed"
    assert found["findings_are_complete"] == "skipped"  # it was given no records


@dataclass(frozen=True, kw_only=True)
class Careless(Lottery):
    """Draws anew each time, has no rule, and always knows."""

    rule: ClassVar = "whatever"
    drawn: ClassVar[list] = []

    def design(self, ctx):
        self.drawn.append(1)
        return Design(arms=(Arm(name=f"arm {len(self.drawn)}"),))

    def analyse(self, evidence):
        return Findings(answer="holds", verdict="It holds, as always.", tables={})


def test_a_careless_one_does_not():
    found = verdicts(Careless)
    assert found["claim_and_rule_are_stated"] == "failed"
    assert found["design_is_drawn_alike_every_time"] == "failed"
    assert found["too_few_records_are_refused"] == "failed"
