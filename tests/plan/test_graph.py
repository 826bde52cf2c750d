"""How nodes are wired: which stage needs what of whom, as the toy protocol, its defenses and its attacks want it."""

import pytest
import yaml
from fake_plugin import PROTOCOL, parts

from mibench.api.errors import UsageError
from mibench.nodes.classifier import EvaluatorInputs, PretrainInputs, TargetInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.gold import GoldInputs
from mibench.nodes.measure import MeasureInputs
from mibench.nodes.prior import PriorInputs
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.plan.cells import expand
from mibench.protocol.identities import split_identities
from mibench.protocol.request import Request
from mibench.protocol.schema import ImageShape

SMALL, LARGE = ImageShape(size=16, channels=1), ImageShape(size=24, channels=1)


@pytest.fixture()
def planned(toy_registry, tmp_path):
    """Return ``planned(changes of the protocol, fields of the request)``: the last cell."""

    def plan(changes=None, **fields):
        raw = yaml.safe_load(PROTOCOL.read_text())
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            inside = raw
            for parent in parents:
                inside = inside[int(parent)] if parent.isdecimal() else inside[parent]
            inside[last] = value
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(raw))
        wanted = {"protocols": (str(tmp_path / "toy.yaml"),), "attacks": ("guess",), "defenses": ("noisy",), **fields}
        return expand(Request(**wanted), toy_registry)[-1]

    return plan


def inputs(cell, ref, kind):
    """Return the inputs of the node that a reference names."""
    found = cell.graph.nodes[ref.key].inputs
    assert isinstance(found, kind)
    assert found.stage in ref.stages
    return found


def test_a_target_learns_private_people_and_the_prior_public_ones(planned):
    cell = planned()
    people = split_identities(cell.loaded.protocol.split, 12)
    target, attack = cell.target.inputs, cell.reconstructions.inputs
    assert isinstance(target, TargetInputs)
    assert isinstance(attack, ReconstructInputs)
    assert inputs(cell, target.private, DataInputs).identities == people.private
    prior = inputs(cell, attack.prior, PriorInputs)
    assert inputs(cell, prior.public, DataInputs).identities == people.public
    assert (target.split.identities, target.num_classes) == (people.private, 3)
    assert (target.start, target.pretrain, prior.target, prior.classes) == (None, None, None, None)
    assert attack.target.key == cell.target.key
    assert (attack.public, attack.evaluators, attack.judge, attack.deploy) == (None, {}, None, None)


def test_each_metric_is_given_what_it_needs_and_no_more(planned):
    cell = planned()
    hits, match, light = (cell.measures[name].inputs for name in ("hits", "match", "light"))
    assert all(isinstance(one, MeasureInputs) for one in (hits, match, light))
    assert (hits.target.key, hits.evidence, hits.evaluators, hits.embedder) == (cell.target.key, None, {}, None)
    assert match.evidence.key == light.evidence.key == cell.reconstructions.key
    assert (match.target, light.target, light.evaluators, light.embedder) == (None, None, {}, None)
    assert list(match.evaluators) == ["judge"]
    assert match.embedder.name == "coarse"
    judge = inputs(cell, match.evaluators["judge"], EvaluatorInputs)
    assert (judge.seed, judge.model.params) == (1000, {"width": 5})


def test_gold_and_floor_take_the_place_of_reconstructions(planned):
    cell = planned()
    gold = inputs(cell, cell.gold["match"].inputs.evidence, GoldInputs)
    floor = inputs(cell, cell.floor["match"].inputs.evidence, ReconstructInputs)
    undefended = inputs(cell, cell.undefended["match"].inputs.evidence, ReconstructInputs)
    assert gold.split_name == "test"
    assert (floor.attack.name, undefended.attack.name) == ("pool", "guess")
    plain = inputs(cell, floor.target, TargetInputs)
    assert plain.defense.name == "plain"
    assert undefended.target == floor.target


def test_an_attack_that_reads_public_images_shares_them_with_its_prior(planned):
    cell = planned(attacks=("reader",))
    attack = cell.reconstructions.inputs
    assert attack.public == inputs(cell, attack.prior, PriorInputs).public


def test_public_images_from_elsewhere_are_the_priors_and_the_attacks(planned):
    source = {"dataset": {"name": "other-blobs"}, "identities": 5}
    cell = planned({"prior.source": source}, attacks=("reader",))
    public = inputs(cell, cell.reconstructions.inputs.public, DataInputs)
    assert (public.dataset.name, public.identities) == ("other-blobs", [0, 1, 2, 3, 4])
    assert inputs(cell, cell.prior_node.inputs.public, DataInputs) == public


def test_a_prior_may_learn_from_portraits_of_people_from_elsewhere(planned):
    source = {"dataset": {"name": "other-blobs"}, "identities": 5, "images": "portraits"}
    cell = planned({"prior.source": source})
    public = inputs(cell, cell.prior_node.inputs.public, DataInputs)
    assert (public.dataset.name, public.identities, public.portraits) == ("other-blobs", [0, 1, 2, 3, 4], 0)


def test_portraits_that_a_source_does_not_have_are_refused(planned, monkeypatch):
    monkeypatch.delattr(parts.Blobs, "portraits")
    source = {"dataset": {"name": "other-blobs"}, "identities": 5, "images": "portraits"}
    with pytest.raises(UsageError, match="learns from portraits, and the dataset 'other-blobs' has none"):
        planned({"prior.source": source})


def test_a_prior_that_asks_the_target_is_one_for_each_target(planned):
    cell = planned(attacks=("picky",), settings={"picky.brings": "guided"})
    prior = cell.prior_node.inputs
    assert prior.target.key == cell.target.key
    assert prior.classes == 3
    plain = inputs(cell, cell.undefended["match"].inputs.evidence, ReconstructInputs)
    other = inputs(cell, plain.prior, PriorInputs)
    assert other.target == plain.target != prior.target
    assert cell.prior_node.label == f"guided for {cell.target.label}"


def test_what_acts_only_in_an_attack_is_in_the_key_of_the_attack(planned):
    cell = planned(attacks=("picky",), settings={"picky.brings": "linear/loud", "linear.steps": 4})
    assert cell.prior_node.inputs.prior.params == {"steps": 4}
    assert cell.reconstructions.inputs.deploy == {"gain": 2.0}


def test_a_defense_that_starts_from_a_public_training_has_one(planned):
    cell = planned(defenses=("warm",))
    target = cell.target.inputs
    start = inputs(cell, target.start, PretrainInputs)
    assert target.pretrain is None
    assert target.payload()["start"] == "pretrain"
    people = split_identities(cell.loaded.protocol.split, 12).public
    assert inputs(cell, start.public, DataInputs).identities == people
    assert (start.num_classes, start.seed, start.validation) == (4, 0, None)


def test_a_recipe_that_starts_from_a_public_training_shares_it_with_every_defense(planned):
    cells = [planned({"recipe.start": "public"}, defenses=(name,)) for name in ("noisy", "warm", "plain")]
    starts = {cell.target.inputs.start.key for cell in cells}
    assert len(starts) == 1
    start = inputs(cells[0], cells[0].target.inputs.start, PretrainInputs)
    assert (start.recipe.start, cells[0].target.inputs.recipe.start) == ("random", "public")


def test_a_defense_in_steps_has_a_target_for_each_and_the_public_training_below(planned):
    cell = planned({"recipe.start": "public"}, defenses=("staged",))
    chain, ref = [], cell.target.ref
    while ref is not None and "target" in ref.stages:
        made = inputs(cell, ref, TargetInputs)
        chain.append(made)
        ref = made.start
    assert len(chain) > 1
    assert {step.defense.name for step in chain} == {"staged"}
    assert len({str(step.defense.params) for step in chain}) == len(chain)
    assert inputs(cell, chain[-1].start, PretrainInputs)
    assert all(step.pretrain is not None for step in chain[:-1])
    assert chain[-1].pretrain is None  # its start is the public training itself


def test_the_training_before_one_that_wants_an_accuracy_keeps_its_last_state(planned):
    recipe = {"recipe.checkpoint": "acc:0.5", "recipe.validate_every": 2}
    target = planned(recipe, defenses=("warm",)).target.inputs
    cell = planned(recipe, defenses=("warm",))
    start = inputs(cell, target.start, PretrainInputs)
    assert (target.recipe.checkpoint, start.recipe.checkpoint, start.recipe.validate_every) == ("acc:0.5", "last", 1)
    assert start.validation is None


def test_a_public_training_that_validates_sets_images_aside(planned):
    cell = planned({"recipe.checkpoint": "best_val_loss"}, defenses=("warm",))
    start = inputs(cell, cell.target.inputs.start, PretrainInputs)
    assert (start.validation.images, start.validation.seed) == (1, 0)


def test_judges_may_see_more_pixels_than_the_target(planned):
    cell = planned({"image.deliver": 24})
    target, attack, match = cell.target.inputs, cell.reconstructions.inputs, cell.measures["match"].inputs
    assert (target.image, attack.image.size, attack.image.deliver) == (SMALL, 16, 24)
    judge = inputs(cell, match.evaluators["judge"], EvaluatorInputs)
    assert (judge.image, inputs(cell, judge.private, DataInputs).image) == (LARGE, LARGE)
    assert inputs(cell, target.private, DataInputs).image == SMALL
    assert inputs(cell, match.private, DataInputs).image == LARGE
    assert match.image == SMALL  # what the target sees, should the metric ask it
    assert cell.measures["hits"].inputs.image is None
    assert planned().measures["match"].inputs.image is None


def test_some_classes_are_in_the_keys_of_what_is_made_for_them(planned):
    cell = planned({"attack_classes": {"labels": [2, 0]}})
    assert cell.graph.fixed.attacked == cell.reconstructions.inputs.attacked == [0, 2]
    assert inputs(cell, cell.gold["match"].inputs.evidence, GoldInputs).attacked == [0, 2]
    assert "attacked" not in cell.target.payload


def test_a_node_is_there_once_whoever_asked_for_it(planned):
    graph = planned().graph
    count = len(graph.nodes)
    assert graph.data("private") is graph.data("private")
    assert graph.gold() is graph.nodes[graph.gold().key]
    assert len(graph.nodes) == count
    assert {node.key for node in graph.evaluators().values()} <= set(graph.nodes)


def test_what_a_record_states_the_digest_of(planned):
    cell = planned()
    assert list(cell.inputs) == ["data", "target", "prior", "reconstructions", "evaluator:judge"]
    assert {role: node.stage for role, node in cell.inputs.items()} == {
        "data": "data",
        "target": "target",
        "prior": "prior",
        "reconstructions": "reconstruct",
        "evaluator:judge": "evaluator",
    }
    assert cell.label == "toy@1.0 · tiny · noisy × guess · seed 3"


@pytest.mark.parametrize(
    ("changes", "attack", "why"),
    [
        ({}, "reader", "the attack 'reader' needs their images"),
        ({"recipe.start": "public"}, "guess", "a training on public people comes first"),
    ],
)
def test_what_cannot_do_without_public_people_is_refused_where_there_are_none(planned, changes, attack, why):
    with pytest.raises(UsageError, match=rf"^toy@1\.0 has no public people \(split\.public is 0\), and {why}$"):
        planned({"split.public": 0, **changes}, attacks=(attack,))
