"""Numbers in words."""

import pytest
from record_factory import make_record, metric

from mibench.cli.tables import result_tables
from mibench.report.view import section
from mibench.results.words import in_words


@pytest.mark.parametrize(
    ("bits", "people", "words"),
    [
        (10.0, 1024, "narrows 1 024 people down to about 1"),
        (9.0, 1024, "narrows 1 024 people down to about 2"),
        (8.5, 1024, "narrows 1 024 people down to about 2.8"),
        (6.685, 1024, "narrows 1 024 people down to about 10"),  # 9.95, to two digits
        (2.0, 1_234_567, "narrows 1 234 567 people down to about 310 000"),
        (1.44, 600, "narrows 600 people down to about 220"),
        (0.0, 600, "no better than a blind guess among 600 people"),
    ],
)
def test_bits_narrow_people_down(bits, people, words):
    assert in_words(bits, "bits", {"among": people}) == words


def test_what_a_blind_guess_has_narrows_nobody_down():
    told = {"among": 600, "chance": 1.44}
    assert in_words(1.44, "bits", told) == "no better than a blind guess among 600 people"
    assert in_words(1.45, "bits", told).startswith("narrows 600")


@pytest.mark.parametrize("details", [{}, {"among": None}, {"among": "many"}, {"among": float("inf")}, {"among": 0}])
def test_foreign_details_say_nothing(details):
    assert in_words(3.0, "bits", details) == ""


@pytest.mark.parametrize(("bits", "left"), [(1e6, "1"), (-1e6, "600")])
def test_foreign_numbers_leave_between_one_and_all(bits, left):
    told = {"among": 600, "chance": -1e7}
    assert in_words(bits, "bits", told) == f"narrows 600 people down to about {left}"


def test_tables_and_reports_say_what_bits_mean():
    leaks = metric(5.0, unit="bits", among=320)
    made = make_record()
    protocol = made.protocol.model_copy(update={"headline": "id_bits"})
    controls = {name: {"id_bits": leaks} for name in made.controls}
    record = made.model_copy(update={"protocol": protocol, "metrics": {"id_bits": leaks}, "controls": controls})
    (table,) = result_tables([record])
    assert "undefended narrows 320 people down to about 10" in table.foot
    shown = dict(section(record, None).metrics)["id_bits"]
    assert "bits: narrows 320 people down to about 10" in shown
    (plain,) = result_tables([made])
    assert "undefended" not in plain.foot
