"""What a plan knows of components is found once, and again as soon as anything that it came from changes."""

import hashlib
import math

import fake_plugin.parts as parts
import pytest

from mibench.api import UsageError
from mibench.plan.facts import Facts
from mibench.registry.entry import Entry
from mibench.registry.registry import Registry


@pytest.fixture()
def no_imports(monkeypatch):
    def refuse(self, kind, name):
        raise AssertionError(f"{kind} {name} was imported")

    return lambda: monkeypatch.setattr(Registry, "component", refuse)


def test_answers_are_remembered_and_not_asked_again(toy_registry, tmp_path, no_imports):
    first = Facts.beside(toy_registry, tmp_path)
    questions = [
        lambda facts: facts.traits("attack", "guess"),
        lambda facts: facts.traits("prior", "guided"),
        lambda facts: facts.settle("defense", "noisy", {}),
        lambda facts: facts.settle("defense", "staged", {}),
        lambda facts: facts.settle("attack", "picky", {"younger": "8"}),
        lambda facts: facts.cost(Entry("noisy", "1", {})),
        lambda facts: facts.identities(Entry("blobs", "1", {"identities": 9})),
        lambda facts: facts.join({n: facts.settle("defense", n, {}) for n in ("noisy", "flipped")}),
    ]
    answers = [ask(first) for ask in questions]
    assert answers[0].access == "white-box"
    assert answers[1].needs_target
    assert answers[3].start["params"] is not None
    assert answers[4].params["younger"] == 8
    assert answers[6] == 9
    first.memo.save()
    no_imports()
    again = Facts.beside(toy_registry, tmp_path)
    assert [ask(again) for ask in questions] == answers


def test_what_a_component_refuses_is_refused_each_time(toy_registry, tmp_path):
    for _ in range(2):
        facts = Facts.beside(toy_registry, tmp_path)
        with pytest.raises(UsageError, match="has no parameter 'widht'"):
            facts.settle("model", "tiny", {"widht": 3})
        facts.memo.save()


def test_a_fingerprint_follows_versions_and_sources(toy_registry, tmp_path, monkeypatch):
    from mibench.registry import packages

    before, known = toy_registry.fingerprint()
    assert {"mibench", "fake_plugin"} <= known
    (tmp_path / "extra-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert toy_registry.fingerprint()[0] != before
    monkeypatch.undo()
    assert toy_registry.fingerprint()[0] == before
    monkeypatch.setattr(packages, "_digest", lambda names: "edited")
    assert toy_registry.fingerprint()[0] != before


# What a class says


def test_what_the_class_of_an_attack_says(toy_registry):
    found = Facts(toy_registry).traits("attack", "guess")
    assert (found.access, found.needs_public, found.checks_prior, found.states_missing) == (
        "white-box",
        False,
        False,
        False,
    )
    assert found.fields == ["steps", "images", "lr"]
    assert (found.groups, found.flat, found.deployed, found.files) == ([], {}, [], {})
    assert found.presets == {"quick": {"steps": 3}, "deep": {"steps": 4}}
    assert Facts(toy_registry).traits("attack", "reader").needs_public
    assert not found.needs_target


def test_a_parameter_in_a_group_has_two_names(toy_registry):
    found = Facts(toy_registry).traits("attack", "grouped")
    assert found.groups == ["new", "old"]
    assert found.flat == {"old.width": "width", "old.start": "begin"}
    assert {"old", "new", "new.width", "new.start", "old.width", "old.start", "width", "begin"} <= set(found.fields)
    assert found.presets["toy"] == {"width": 2.0}
    assert found.presets["broad"] == {"width": 8.0, "new.width": 9.0}  # by the names that keys hold


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("prior", "linear", {"deployed": ["gain"], "needs_target": False, "access": None}),
        ("prior", "guided", {"deployed": [], "needs_target": True}),
        ("model", "filed", {"files": {"scale": ["", "none"]}, "presets": {"wide": {"width": 6}}}),
        ("model", "tiny", {"files": {}}),
        ("metric", "hits", {"subject": "target", "needs": ["target"]}),
        ("metric", "match", {"subject": "reconstructions", "needs": ["embedder", "evaluators"]}),
        ("metric", "light", {"needs": []}),
        ("defense", "noisy", {"needs": [], "subject": "", "presets": {"toy": {"lam": 0.25}, "strong": {"lam": 0.5}}}),
    ],
)
def test_what_other_classes_say(toy_registry, kind, name, expected):
    found = Facts(toy_registry).traits(kind, name)
    assert {field: getattr(found, field) for field in expected} == expected


@pytest.mark.parametrize(
    ("kind", "name", "component"),
    [
        ("dataset", "blobs", "Blobs"),
        ("model", "tiny", "Tiny"),
        ("model", "coarse", "Coarse"),
        ("prior", "linear", "Linear"),
    ],
)
def test_a_component_may_lack_files_if_it_says_how_to_tell(toy_registry, monkeypatch, kind, name, component):
    assert not Facts(toy_registry).traits(kind, name).states_missing
    monkeypatch.setattr(getattr(parts, component), "missing", lambda self: [])
    assert Facts(toy_registry).traits(kind, name).states_missing


def test_an_attack_checks_priors_if_it_has_a_check_of_its_own(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Guess, "check_prior", lambda self, prior, classes: None)
    assert Facts(toy_registry).traits("attack", "guess").checks_prior
    assert not Facts(toy_registry).traits("attack", "pool").checks_prior


def test_what_acts_only_in_deployment_is_told_apart(toy_registry):
    traits = Facts(toy_registry).traits("prior", "linear")
    assert traits.split({"steps": 12, "gain": 2.0}) == ({"steps": 12}, {"gain": 2.0})
    assert traits.split({"steps": 12}) == ({"steps": 12}, {})


def test_an_unknown_component_is_explained(toy_registry):
    facts = Facts(toy_registry)
    for ask in (lambda: facts.traits("defense", "noisi"), lambda: facts.settle("defense", "noisi", {})):
        with pytest.raises(UsageError, match=r"Unknown defense 'noisi'. Did you mean 'noisy'\?"):
            ask()


# What a component says with its parameters


def test_all_parameters_come_back_as_plain_json(toy_registry):
    facts = Facts(toy_registry)
    assert facts.settle("defense", "noisy", {}).params == {"lam": 0.125}
    assert facts.settle("defense", "noisy", {"lam": "0.5"}).params == {"lam": 0.5}  # as a command line has it
    found = facts.settle("attack", "picky", {"fails": [2, 0], "brings": "guided", "judged": True})
    assert (found.prior, found.uses_evaluator, found.params["fails"]) == ("guided", True, [2, 0])
    assert "younger" not in found.params  # a parameter that came later leaves old keys alone
    plain = facts.settle("attack", "picky", {})
    assert (plain.prior, plain.uses_evaluator, plain.starts, plain.start) == (None, False, False, None)


def test_flat_and_dotted_names_are_one_question(toy_registry):
    facts = Facts(toy_registry)
    flat, dotted = (
        facts.settle("attack", "grouped", {"width": 5.0}),
        facts.settle("attack", "grouped", {"old.width": 5}),
    )
    nested = facts.settle("attack", "grouped", {"old": {"width": 5.0}})
    assert flat.params == dotted.params == nested.params
    assert flat.params != facts.settle("attack", "grouped", {}).params
    with pytest.raises(UsageError, match="width"):
        facts.settle("attack", "grouped", {"width": 5.0, "old.width": 6.0})


@pytest.mark.parametrize(
    ("defense", "starts", "start"),
    [
        ("noisy", False, None),
        ("warm", True, None),  # plain training on public identities
        ("staged", True, {"params": {"stage": "first"}, "starts": False, "start": None}),
    ],
)
def test_what_a_defense_starts_from(toy_registry, defense, starts, start):
    found = Facts(toy_registry).settle("defense", defense, {})
    assert (found.starts, found.start) == (starts, start)


def test_joined_defenses_start_from_the_same_defenses(toy_registry):
    facts = Facts(toy_registry)
    found = facts.join({name: facts.settle("defense", name, {}) for name in ("flipped", "staged")})
    assert found.params == {"flipped": {"both": False}, "staged": {"stage": "second"}}
    first = {"flipped": {"both": False}, "staged": {"stage": "first"}}
    assert (found.starts, found.start) == (True, {"params": first, "starts": False, "start": None})
    warm = facts.join({name: facts.settle("defense", name, {}) for name in ("flipped", "warm")})
    assert (warm.starts, warm.start) == (True, None)


def test_defenses_that_cannot_be_combined_are_refused_each_time(toy_registry, tmp_path):
    for _ in range(2):
        facts = Facts.beside(toy_registry, tmp_path)
        with pytest.raises(UsageError, match=r"warm.*staged"):
            facts.join({name: facts.settle("defense", name, {}) for name in ("warm", "staged")})
        facts.memo.save()


def test_a_file_is_its_digest_and_its_place_is_told(toy_registry, tmp_path, monkeypatch):
    (tmp_path / "w.txt").write_text("1.0")
    monkeypatch.chdir(tmp_path)
    expected = "sha256:" + hashlib.sha256(b"1.0").hexdigest()
    facts = Facts(toy_registry)
    found = facts.settle("model", "filed", {"scale": "w.txt"})
    assert found.params == {"width": 4, "scale": expected}
    assert found.files == {expected: str(tmp_path / "w.txt")}
    assert facts.settle("model", "filed", {}).files == {}
    assert facts.settle("model", "filed", {"scale": "none"}).params["scale"] == "none"


def test_a_digest_stands_for_a_file_that_is_known(toy_registry, tmp_path):
    (tmp_path / "w.txt").write_text("1.0")
    stated = "sha256:" + hashlib.sha256(b"1.0").hexdigest()
    toy_registry.files[stated] = str(tmp_path / "w.txt")
    found = Facts(toy_registry).settle("model", "filed", {"scale": stated})
    assert (found.params["scale"], found.files) == (stated, {stated: str(tmp_path / "w.txt")})


def test_a_component_may_say_itself_where_its_file_comes_from(toy_registry, monkeypatch):
    with pytest.raises(UsageError) as told:
        Facts(toy_registry).settle("model", "filed", {"scale": "gone.txt"})
    assert str(told.value) == ("model 'filed': scale = 'gone.txt' does not exist. Give the path of an existing file.")
    monkeypatch.setattr(parts.Filed, "missing", lambda self: ["the scale;", "run: fetch it"])
    with pytest.raises(UsageError, match=r"^the scale; run: fetch it$"):
        Facts(toy_registry).settle("model", "filed", {"scale": "gone.txt"})


def test_a_plan_that_may_lack_files_notes_those_that_are_not_there(toy_registry):
    facts = Facts(toy_registry, lenient=True)
    found = facts.settle("model", "filed", {"scale": "gone.txt"})
    assert (found.params["scale"], found.files) == ("gone.txt", {})
    assert facts.absent == ["model 'filed': scale = 'gone.txt' does not exist. Give the path of an existing file."]


# Numbers that a plan needs


def _beside(registry, folder, ask):
    """Ask twice, in two processes as it were, and return both answers."""
    answers = []
    for _ in range(2):
        facts = Facts.beside(registry, folder)
        answers.append(ask(facts))
        facts.memo.save()
    return answers


@pytest.mark.parametrize(("stated", "expected"), [(1, 1.0), (2.5, 2.5), (math.inf, math.inf)])
def test_any_cost_is_remembered(toy_registry, tmp_path, monkeypatch, stated, expected):
    asked = []
    monkeypatch.setattr(parts.Noisy, "cost", lambda self: asked.append(1) or stated)
    entry = Entry("noisy", "1", {"lam": 0.25})
    assert _beside(toy_registry, tmp_path, lambda facts: facts.cost(entry)) == [expected, expected]
    assert len(asked) == 1


def test_joined_defenses_cost_the_product(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Flipped, "cost", lambda self: 3.0)
    both = Entry("noisy+flipped", "1+1", {"noisy": {"lam": 0.25}, "flipped": {"both": False}})
    assert Facts(toy_registry).cost(both) == 2.0 * 3.0


def test_a_cost_is_that_of_these_parameters(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Noisy, "cost", lambda self: 1.0 + self.lam)
    facts = Facts(toy_registry)
    assert [facts.cost(Entry("noisy", "1", {"lam": lam})) for lam in (0.25, 0.5)] == [1.25, 1.5]


def test_groups_are_words_and_nobody_can_change_what_is_remembered(toy_registry, tmp_path, monkeypatch):
    monkeypatch.setattr(parts.Blobs, "groups", lambda self: {"age": [20, 30], "parity": ("even", "odd")})
    facts, entry = Facts.beside(toy_registry, tmp_path), Entry("blobs", "1", {"identities": 2})
    expected = {"age": ["20", "30"], "parity": ["even", "odd"]}
    found = facts.groups(entry)
    assert found == expected
    found["age"].append("40")
    found.pop("parity")
    assert facts.groups(entry) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [({0: 7, 1: 5, 2: 6}, 5), ({0: 7, 1: None, 2: 6}, 6), ({0: None, 1: None, 2: None}, None), ({}, None)],
)
def test_the_fewest_images_of_any_that_is_known(toy_registry, tmp_path, monkeypatch, numbers, expected):
    asked = []
    monkeypatch.setattr(parts.Blobs, "num_images", lambda self, one: asked.append(one) or numbers[one])
    entry = Entry("blobs", "1", {"identities": 12})
    found = _beside(toy_registry, tmp_path, lambda facts: facts.fewest_images(entry, list(numbers)))
    assert found == [expected, expected]
    assert asked == list(numbers)  # "it does not say" is remembered like a number


def test_other_people_are_another_question(toy_registry, monkeypatch):
    monkeypatch.setattr(parts.Blobs, "num_images", lambda self, identity: 10 - identity)
    facts, entry = Facts(toy_registry), Entry("blobs", "1", {"identities": 12})
    assert [facts.fewest_images(entry, people) for people in ([1, 2], [3])] == [8, 7]


def test_only_that_nothing_is_missing_is_remembered(toy_registry, tmp_path, monkeypatch):
    lacking, asked = ["a file", "another"], []
    monkeypatch.setattr(parts.Blobs, "missing", lambda self: asked.append(1) or list(lacking))
    entry = Entry("blobs", "1", {"identities": 12})
    assert _beside(toy_registry, tmp_path, lambda facts: facts.missing("dataset", entry)) == [lacking, lacking]
    assert len(asked) == 2
    lacking.clear()
    assert _beside(toy_registry, tmp_path, lambda facts: facts.missing("dataset", entry)) == [[], []]
    assert len(asked) == 3


def test_a_component_that_cannot_lack_anything_is_not_built(toy_registry, monkeypatch):
    facts = Facts(toy_registry)
    monkeypatch.setattr(facts.components, "build", lambda kind, entry: pytest.fail("it was built"))
    assert facts.missing("dataset", Entry("blobs", "1", {"identities": 12})) == []


def test_a_recipe_that_was_accepted_is_not_asked_again(toy_registry, tmp_path, monkeypatch):
    asked = []

    def check(self, *, num_images, batch, epochs):
        asked.append((num_images, batch, epochs))
        if batch > num_images:
            raise UsageError(f"{batch} images are too many")

    monkeypatch.setattr(parts.Noisy, "check_recipe", check)
    entry = Entry("noisy", "1", {"lam": 0.25})
    _beside(toy_registry, tmp_path, lambda facts: facts.check_recipe(entry, num_images=12, batch=5, epochs=2))
    assert asked == [(12, 5, 2)]
    for _ in range(2):
        with pytest.raises(UsageError, match="13 images are too many"):
            _beside(toy_registry, tmp_path, lambda facts: facts.check_recipe(entry, num_images=12, batch=13, epochs=2))
    assert asked[1:] == [(12, 13, 2)] * 2
