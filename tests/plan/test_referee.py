"""Plans of protocols with a gallery, folds, a suite and the lookalike control."""

import pytest
from fake_plugin import HERE, parts

from mibench.api import UsageError
from mibench.nodes.data import DataInputs
from mibench.plan.cells import expand, expand_loaded
from mibench.plan.facts import Facts
from mibench.plan.plan import make_plan
from mibench.protocol.load import load_protocol
from mibench.protocol.request import Request
from mibench.store.store import Store

REFEREE = (HERE / "referee.yaml").read_text()


def cells(registry, text=None, folder=None, **fields):
    name = "referee"
    if text is not None:
        name = str(folder / "referee.yaml")
        (folder / "referee.yaml").write_text(text)
    return expand(Request(**{"protocols": (name,), "defenses": ("plain",), **fields}), registry)


def test_a_request_without_attacks_means_the_suite(toy_registry):
    assert [cell.attack.requested for cell in cells(toy_registry)] == ["guess", "guess/deep"]
    assert [cell.attack.requested for cell in cells(toy_registry, attacks=("suite", "picky"))] == [
        "guess",
        "guess/deep",
        "picky",
    ]
    assert [cell.attack.requested for cell in cells(toy_registry, attacks=("picky",))] == ["picky"]


def test_a_protocol_without_a_suite_has_none_to_ask_for(toy_registry):
    with pytest.raises(UsageError, match=r"toy@1\.0 requires no suite of attacks; name those"):
        cells(toy_registry, protocols=("toy",), attacks=("suite",))


@pytest.mark.parametrize(
    ("attack", "told"), [("gues", "Did you mean 'guess'"), ("guess/strong", "Unknown preset of attack 'guess'")]
)
def test_a_suite_that_cannot_be_met_here_is_refused(toy_registry, tmp_path, attack, told):
    text = REFEREE.replace("[guess, guess/deep]", f"[guess, {attack}]")
    message = f"referee@1.0 requires the attack '{attack}' in its suite, which is not installed: .*{told}"
    for asked in ({}, {"attacks": ("guess",)}):
        with pytest.raises(UsageError, match=message) as caught:
            cells(toy_registry, text, tmp_path, **asked)
        assert f"Install the plugin that provides '{attack}'" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[guess, guess/deep]", "[guess, pool]", "requires the attack 'pool' in its suite, which optimises nothing"),
        (
            "floor: {name: pool, params: {size: 8}}",
            "floor: {name: guess}",
            "has the attack 'guess' as its floor, which optimises something",
        ),
        (
            "lookalike: {name: pool, params: {size: 4}}",
            "lookalike: {name: guess}",
            "has the attack 'guess' as its lookalike",
        ),
        (
            "undefended: {name: plain}",
            "undefended: {name: flipped}",
            "has 'flipped' as its undefended control, a defense of the family 'output'",
        ),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 0]", "seeds: Value error, 0 is given twice"),
        ("seeds: [0, 1, 2]", "seeds: [0, 2]", "no seed of [0, 2] makes the people of fold 1 private"),
    ],
)
def test_a_protocol_whose_rows_could_not_be_ranked_is_refused_before_anything_runs(
    toy_registry, tmp_path, old, new, told
):
    assert old in REFEREE
    with pytest.raises(UsageError) as caught:
        cells(toy_registry, REFEREE.replace(old, new), tmp_path)
    assert told in str(caught.value)


def test_a_seed_that_no_board_takes_is_told_of_once(toy_registry, tmp_path):
    request = {"protocols": ("referee",), "defenses": ("plain",)}
    told = [
        make_plan(Request(**request, seeds=seeds, variant=variant), toy_registry, Store(tmp_path)).unlisted_seeds
        for seeds, variant in (((0, 7), "test"), ((0, 2), "test"), ((7,), "validation"))
    ]
    assert told == [["seed 7 is none of referee@1.0 (0, 1, 2): boards take no record of it"], [], []]


def test_a_record_is_looked_at_again_where_its_suite_is_not_installed(toy_registry, tmp_path):
    path = tmp_path / "referee.yaml"
    path.write_text(REFEREE.replace("[guess, guess/deep]", "[gues]"))
    loaded = load_protocol(toy_registry, str(path))
    (cell,) = expand_loaded(loaded, Request(defenses=("plain",), attacks=("guess",)), Facts(toy_registry))
    assert cell.attack.name == "guess"


def test_settings_are_for_what_was_asked_for_and_not_for_the_suite(toy_registry):
    with pytest.raises(UsageError, match="no requested component is called 'guess'"):
        cells(toy_registry, attacks=("picky",), settings={"guess.steps": 5})


def test_seeds_are_in_folds_with_people_of_their_own(toy_registry):
    found = {cell.seed: cell for cell in cells(toy_registry, attacks=("guess",), seeds=(0, 1, 2))}
    people = {seed: cell.graph.fixed.identities for seed, cell in found.items()}
    assert people[0] == people[2] != people[1]
    assert not set(people[0].private) & set(people[1].private)
    assert found[0].graph is found[2].graph
    for role in ("data", "evaluator:judge"):
        keys = [found[seed].inputs[role].key for seed in (0, 1, 2)]
        assert keys[0] == keys[2] != keys[1], role
    golds = [found[seed].gold["found"].key for seed in (0, 1, 2)]
    assert golds[0] == golds[2] != golds[1]
    # Twelve people are enough for all to learn from the same public ones.
    assert found[0].prior_node.key == found[1].prior_node.key
    assert people[0].distractors == people[1].distractors


def test_the_validation_variant_has_people_of_its_own(toy_registry):
    (tuned,) = cells(toy_registry, attacks=("guess",), seeds=(1,), variant="validation")
    test = cells(toy_registry, attacks=("guess",), seeds=(0, 1))
    reported = {i for cell in test for i in cell.graph.fixed.identities.private}
    own = tuned.graph.fixed.identities
    assert not reported & {*own.private, *own.public, *own.distractors}


def test_a_metric_that_looks_for_identities_is_given_portraits_and_truth(toy_registry):
    cell = cells(toy_registry, attacks=("guess",))[0]
    nodes, people = cell.graph.nodes, cell.graph.fixed.identities
    measure = cell.measures["found"]
    gallery, others = (nodes[measure.needs[role]].inputs for role in ("gallery", "distractors"))
    assert isinstance(gallery, DataInputs)
    assert (gallery.identities, gallery.portraits, gallery.truth) == (people.private, 0, True)
    assert (others.identities, others.portraits, others.truth) == (people.distractors, 0, True)
    assert gallery.image.size == others.image.size == 24, "as judges see them"
    gold = nodes[nodes[cell.gold["found"].needs["evidence"]].needs["private"]].inputs
    assert (gold.identities, gold.portraits, gold.truth, gold.image.size) == (people.private, 1, None, 24)
    assert set(cell.measures["match"].needs) == {"private", "evidence", "evaluator:judge"}


def test_a_metric_without_that_need_has_the_key_that_it_has_without_a_gallery(toy_registry, tmp_path):
    text = REFEREE.replace("gallery: {images: portraits, distractors: 3}\n", "")
    plain = cells(toy_registry, text, tmp_path, attacks=("guess",))[0]
    cell = cells(toy_registry, attacks=("guess",))[0]
    assert plain.graph.fixed.identities.private == cell.graph.fixed.identities.private
    assert plain.measures["match"].key == cell.measures["match"].key
    assert plain.target.key == cell.target.key
    own = plain.graph.nodes[plain.measures["found"].needs["gallery"]].inputs
    assert (own.portraits, own.truth) == (None, True)
    assert "distractors" not in plain.measures["found"].needs


def test_a_dataset_without_truth_has_its_images_once(toy_registry, tmp_path, monkeypatch):
    monkeypatch.delattr(parts.Blobs, "truth")
    text = REFEREE.replace("images: portraits, ", "")
    cell = cells(toy_registry, text, tmp_path, attacks=("guess",))[0]
    assert cell.measures["found"].needs["gallery"] == cell.measures["found"].needs["private"]


def test_a_dataset_without_portraits_is_refused(toy_registry, monkeypatch):
    monkeypatch.delattr(parts.Blobs, "portraits")
    with pytest.raises(UsageError, match=r"referee@1\.0 compares with portraits, and the dataset 'blobs' has none"):
        cells(toy_registry)


def test_too_few_distractors_are_refused(toy_registry, tmp_path):
    text = REFEREE.replace("distractors: 3", "distractors: 9")
    with pytest.raises(UsageError, match=r"wants 9 distractors beside 2 private and 2 public .* leaves 8"):
        cells(toy_registry, text, tmp_path)


def test_the_lookalike_runs_on_the_undefended_target(toy_registry):
    cell = cells(toy_registry, attacks=("guess",), defenses=("noisy",))[1]
    images = cell.graph.nodes[cell.lookalike["found"].needs["evidence"]]
    assert (images.inputs.attack.params["size"], cell.defense.name) == (4, "noisy")
    floor = cell.graph.nodes[cell.floor["found"].needs["evidence"]]
    assert images.needs["target"] == floor.needs["target"] != cell.target.key
    assert list(cell.controls) == ["gold", "floor", "undefended", "lookalike"]
    toy = cells(toy_registry, protocols=("toy",), attacks=("guess",))[0]
    assert list(toy.controls) == ["gold", "floor", "undefended"]
