"""Names that tell runs of one defense apart."""

import pytest
from record_factory import component, make_record

from mibench.results.differing_params import defense_names
from mibench.results.record import Record


def of_preset(preset: str | None, **params: float) -> Record:
    part = component("defense", "atat", **params).model_copy(update={"preset": preset})
    base = make_record()
    return base.model_copy(update={"components": {**base.components, "defense": part}})


@pytest.mark.parametrize(
    ("preset", "name"), [("paper", "atat (preset paper)"), (make_record().protocol.name, "atat"), (None, "atat")]
)
def test_a_lone_defense_is_of_its_preset(preset: str | None, name: str) -> None:
    assert defense_names([of_preset(preset, lam=1)]) == [name]


def test_parameters_tell_more_than_presets() -> None:
    runs = [of_preset("paper", lam=1), of_preset(None, lam=0.2)]
    assert defense_names(runs) == ["atat (lam=1)", "atat (lam=0.2)"]
