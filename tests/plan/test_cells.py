"""From requests to cells and keys, with the components of the fake plugin."""

import pytest
import yaml
from fake_plugin import PROTOCOL

from mibench.api import UsageError
from mibench.assemble.records import reproduce
from mibench.plan.cells import expand
from mibench.protocol.request import Request


def cells(registry, **fields):
    return expand(Request(**{"protocols": ("toy",), "attacks": ("guess",), "defenses": ("noisy",), **fields}), registry)


def cell(registry, **fields):
    return cells(registry, **fields)[-1]


def keys(cell):
    """Keys by what they are; what the judges and the prior need is looked up in the graph."""
    graph = cell.graph
    return {
        "target": {cell.target.key},
        "reconstruct": {cell.reconstructions.key},
        "measure": {node.key for node in cell.measures.values()},
        "gold": {graph.gold().key} | {node.key for node in cell.gold.values()},
        "floor": {node.key for node in cell.floor.values()},
        "undefended": {node.key for node in cell.undefended.values()},
        "evaluator": {node.key for node in graph.evaluators().values()},
        "prior": {graph.prior().key},
        "data": {graph.data("private").key, graph.data("public").key},
    }


def changed(one, two):
    """Return what has no key in common."""
    first, second = keys(one), keys(two)
    return {name for name in first if first[name] != second[name]}


# Presets and settings


@pytest.mark.parametrize(
    ("defense", "settings", "preset", "lam", "overridden"),
    [
        ("noisy", {}, "toy", 0.25, False),  # named like the protocol
        ("noisy/strong", {}, "strong", 0.5, False),  # asked for
        ("noisy", {"defense.lam": 0.75}, "toy", 0.75, True),
        ("noisy/strong", {"noisy.lam": "0.75"}, "strong", 0.75, True),
        ("noisy", {"noisy.lam": 0.25}, "toy", 0.25, False),  # what it would be anyway
    ],
)
def test_presets_and_settings_of_a_defense(toy_registry, defense, settings, preset, lam, overridden):
    found = cell(toy_registry, defenses=(defense,), settings=settings).defense
    assert (found.preset, found.params["lam"], found.overridden) == (preset, lam, overridden)


def test_without_a_preset_named_like_the_protocol_the_defaults_hold(toy_registry):
    assert cell(toy_registry, protocols=("other",)).defense.params == {"lam": 0.125}


@pytest.mark.parametrize(
    ("attack", "params"),
    [
        ("guess", {"steps": 3, "images": 2, "lr": 0.1}),  # as the protocol froze it: preset and parameters
        ("guess/deep", {"steps": 4, "images": 3, "lr": 0.1}),  # another preset and nothing of the protocol's
        ("reader", {"steps": 2, "images": 3, "lr": 0.1}),  # not in the protocol: its own defaults
    ],
)
def test_presets_of_an_attack(toy_registry, attack, params):
    found = cell(toy_registry, attacks=(attack,)).attack
    assert (found.params, found.overridden) == (params, False)
    assert cell(toy_registry, attacks=(attack,), settings={"attack.lr": 0.2}).attack.overridden


@pytest.mark.parametrize(("model", "width"), [((), 3), (("tiny",), 3), (("tiny/wide",), 6)])
def test_a_bare_model_name_is_the_protocols_model(toy_registry, model, width):
    assert cell(toy_registry, models=model).model.params == {"width": width}


def test_a_kind_sets_all_components_that_have_the_parameter_and_a_name_only_one(toy_registry):
    both = cells(toy_registry, attacks=("guess", "reader"), settings={"attack.lr": 0.5, "reader.steps": 7})
    found = {c.attack.name: c.attack.params for c in both}
    assert (found["guess"]["lr"], found["guess"]["steps"]) == (0.5, 3)
    assert (found["reader"]["lr"], found["reader"]["steps"]) == (0.5, 7)


def test_settings_touch_neither_judges_nor_controls(toy_registry):
    plain, wide = cell(toy_registry), cell(toy_registry, settings={"model.width": 9})
    assert wide.model.params == {"width": 9}
    assert "evaluator" not in changed(plain, wide)


def test_a_protocol_freezes_priors_that_attacks_bring(toy_registry, tmp_path):
    """What a preset of the protocol says of it then counts no more; a preset asked for by name, and settings, do."""
    frozen = {"name": "other", "priors": {"linear": {"name": "linear", "params": {"steps": 3}}}}
    other = tmp_path / "other.yaml"
    other.write_text(
        yaml.safe_dump(
            {**yaml.safe_load(PROTOCOL.read_text()), **frozen, "presets": {"prior": {"linear": {"steps": 7}}}}
        )
    )

    def prior(brings, **settings):
        found = cell(
            toy_registry, protocols=(str(other),), attacks=("picky",), settings={"picky.brings": brings, **settings}
        )
        return found.prior

    assert prior("linear").params["steps"] == 3
    assert prior("linear/loud").params["gain"] == 2.0
    changed = prior("linear", **{"prior.steps": 4})
    assert (changed.params["steps"], changed.overridden) == (4, True)


def test_settings_reach_a_prior_that_an_attack_brings_and_not_the_protocols(toy_registry):
    settings = {"picky.brings": "linear/loud", "prior.steps": 2}
    found = cell(toy_registry, attacks=("picky",), settings=settings)
    assert (found.prior.params["gain"], found.prior.params["steps"]) == (2.0, 2)
    assert found.graph.fixed.prior.params["steps"] == 12
    assert found.attack.overridden
    assert "--set linear.steps=2" in reproduce(found)
    by_name = cell(toy_registry, attacks=("picky",), settings={"picky.brings": "linear/loud", "linear.steps": 2})
    assert by_name.prior_node.key == found.prior_node.key
    with pytest.raises(UsageError, match="no requested component is called 'linear'"):
        cell(toy_registry, settings={"linear.steps": 2})
    with pytest.raises(UsageError, match="no requested attack brings a prior of its own"):
        cell(toy_registry, settings={"prior.steps": 2})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"settings": {"defense.lamm": 1}}, "Did you mean 'lam'"),
        ({"settings": {"noissy.lam": 1}}, "Did you mean 'noisy'"),
        ({"settings": {"noisy.lamm": 1}}, "Did you mean 'lam'"),
        ({"settings": {"noisy.lam": 3}}, "float >= 0, <= 1"),
        ({"settings": {"lam": 1}}, "KIND.PARAMETER"),
        ({"settings": {"reader.steps": 3}}, "no requested component is called 'reader'"),
        ({"defenses": ("noisi",)}, "Did you mean 'noisy'"),
        ({"defenses": ("noisy/strog",)}, "Did you mean 'strong'"),
        ({"attacks": ("gess",)}, "Did you mean 'guess'"),
        ({"models": ("tinny",)}, "Did you mean 'tiny'"),
        ({"protocols": ("toi",)}, "Did you mean 'toy'"),
        ({"protocols": ("toy@2.0",)}, "installed in version 1.0"),
        ({"protocols": ("nowhere.yaml",)}, "Cannot read the protocol file nowhere.yaml: No such file"),
        ({"datasets": ("blob",)}, "Did you mean 'blobs'"),
        ({"datasets": ("other-blobs",)}, "no protocol on other-blobs among: toy"),
    ],
)
def test_mistakes_are_explained(toy_registry, fields, message):
    with pytest.raises(UsageError, match=message):
        cells(toy_registry, **fields)


# The matrix


def test_the_matrix_has_its_controls_first(toy_registry):
    found = cells(toy_registry, defenses=("noisy", "broken"), attacks=("guess", "pool"), seeds=(5, 6))
    names = [(c.seed, c.attack.name, c.defense.name) for c in found]
    assert names == [
        (seed, attack, defense)
        for seed in (5, 6)
        for attack in ("guess", "pool")
        for defense in ("plain", "noisy", "broken")
    ]


def test_controls_are_measured_by_the_same_metrics(toy_registry):
    plain, noisy = cells(toy_registry)
    assert set(noisy.measures) == {"hits", "match", "light"}
    for control in (noisy.gold, noisy.floor, noisy.undefended):
        assert set(control) == {"match", "light"}
    assert {name: node.key for name, node in noisy.undefended.items()} == {
        name: plain.measures[name].key for name in ("match", "light")
    }
    assert noisy.floor["match"].key == plain.floor["match"].key
    floor = noisy.graph.nodes[noisy.floor["match"].needs["evidence"]]
    assert floor.payload["attack"]["name"] == "pool"
    assert floor.needs["target"] == plain.target.key


@pytest.mark.parametrize(("seeds", "expected"), [((), {3}), ((7,), {7}), ((0, 1), {0, 1})])
def test_seeds_default_to_the_protocols_first(toy_registry, seeds, expected):
    assert {c.seed for c in cells(toy_registry, seeds=seeds)} == expected


@pytest.mark.parametrize(
    ("fields", "protocols"),
    [
        ({"protocols": (), "datasets": ("blobs",)}, {"toy@1.0"}),
        ({"protocols": (), "datasets": ("other-blobs",)}, {"other@1.0"}),
        ({"protocols": ("toy", "other"), "datasets": ("other-blobs",)}, {"other@1.0"}),
        ({"protocols": ("toy", "other"), "datasets": ("blobs", "other-blobs")}, {"toy@1.0", "other@1.0"}),
        ({"protocols": ("toy@1.0", "other")}, {"toy@1.0", "other@1.0"}),
    ],
)
def test_datasets_choose_protocols(toy_registry, fields, protocols):
    assert {c.loaded.id for c in cells(toy_registry, **fields)} == protocols


# Keys


def test_where_and_how_it_runs_is_in_no_key(toy_registry, tmp_path):
    other = {"device": "cuda:3", "executor": "local", "workers": 7, "store": tmp_path, "output": tmp_path}
    assert changed(cell(toy_registry), cell(toy_registry, **other)) == set()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"settings": {"defense.lam": 0.5}}, {"target", "reconstruct", "measure"}),
        ({"settings": {"attack.lr": 0.5}}, {"reconstruct", "measure", "undefended"}),
        ({"settings": {"model.width": 2}}, {"target", "reconstruct", "measure", "floor", "undefended"}),
        ({"seeds": (9,)}, {"target", "reconstruct", "measure", "floor", "undefended"}),
    ],
)
def test_a_request_changes_only_what_depends_on_it(toy_registry, fields, expected):
    assert changed(cell(toy_registry), cell(toy_registry, **fields)) == expected


ALL = {"target", "reconstruct", "measure", "gold", "floor", "undefended", "evaluator", "prior", "data"}
MEASURED = {"measure", "gold", "floor", "undefended"}


def _set(raw, path, value):
    *parents, last = path
    for part in parents:
        raw = raw[part]
    raw[last] = value


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("metrics", 2, "params"), {"scale": 3.0}, MEASURED),
        (("recipe", "epochs"), 9, {"target", "reconstruct", "measure", "floor", "undefended"}),
        (("evaluators", 0, "seed"), 5, MEASURED | {"evaluator"}),
        (("prior", "params", "steps"), 3, {"prior", "reconstruct"} | MEASURED - {"gold"}),
        (("prior", "seed"), 3, {"prior", "reconstruct"} | MEASURED - {"gold"}),
        (("floor", "params", "size"), 9, {"floor"}),
        (("budget",), {"forward": 99}, {"reconstruct"} | MEASURED - {"gold"}),
        (("dataset", "params", "identities"), 13, ALL),
        (("image", "size"), 12, ALL),
        (("split", "seed"), 1, ALL),
        (("split", "train"), 3, ALL - {"data", "prior"}),
        (("summary",), "other words", set()),
        (("headline",), "light", set()),
        (("expected_seconds",), {}, set()),
    ],
)
def test_a_protocol_changes_only_what_depends_on_it(toy_registry, tmp_path, path, value, expected):
    raw = yaml.safe_load(PROTOCOL.read_text())
    _set(raw, path, value)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(raw))
    assert changed(cell(toy_registry), cell(toy_registry, protocols=(str(tmp_path / "other.yaml"),))) == expected


def test_only_the_metric_that_changed_is_measured_again(toy_registry, tmp_path):
    raw = yaml.safe_load(PROTOCOL.read_text())
    _set(raw, ("metrics", 2, "params"), {"scale": 3.0})
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(raw))
    before, after = cell(toy_registry), cell(toy_registry, protocols=(str(tmp_path / "other.yaml"),))
    same = {name for name in before.measures if before.measures[name].key == after.measures[name].key}
    assert same == {"hits", "match"}


# The validation variant


def test_validation_is_about_other_people_and_other_images(toy_registry):
    test, validation = cell(toy_registry), cell(toy_registry, variant="validation")
    people = [set(c.graph.fixed.identities.private) for c in (test, validation)]
    assert not people[0] & people[1]
    for c in (test, validation):
        assert not set(c.graph.fixed.identities.private) & set(c.graph.fixed.identities.public)
    assert validation.loaded.id == "toy@1.0+validation"
    assert validation.loaded.digest != test.loaded.digest
    assert changed(test, validation) >= {"target", "reconstruct", "measure", "gold", "evaluator"}


def test_no_node_of_the_validation_variant_reads_test_images(toy_registry):
    for variant, part in (("test", "test"), ("validation", "val")):
        nodes = cell(toy_registry, variant=variant).graph.nodes.values()
        assert {node.payload["part"] for node in nodes if node.stage in ("gold", "measure")} == {part}
