"""A new stage is one class beside the others and one function: planner, worker and store take it as it is."""

import json
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from node_factory import IMAGE

from mibench.nodes import inputs as base
from mibench.nodes.data import DataFiles, DataInputs
from mibench.nodes.files import Files
from mibench.nodes.inputs import Inputs
from mibench.nodes.marks import DataRef, DatasetEntry
from mibench.nodes.node import Node
from mibench.plan.durations import Durations
from mibench.plan.facts import Facts
from mibench.plan.known import check_node
from mibench.plan.provenance import made_by, sources_of
from mibench.protocol.load import load_protocol
from mibench.registry.entry import Entry
from mibench.stages.context import StageContext
from mibench.stages.files import load_tensors
from mibench.stages.run import run_node
from mibench.store.store import Store

CPU = torch.device("cpu")


class CensusFiles(Files):
    def people(self):
        return self.read_json("people.json")


@pytest.fixture()
def census(monkeypatch):
    """Define the stage for one test."""
    monkeypatch.setattr(base, "KNOWN", base.KNOWN)
    monkeypatch.setitem(base.KNOWN, "census", None)
    del base.KNOWN["census"]

    @dataclass(frozen=True, kw_only=True)
    class CensusInputs(Inputs):
        stage: ClassVar = "census"
        run: ClassVar = "census_stage:run"
        runs: ClassVar = "dataset"
        light_seconds: ClassVar = 2.0

        public: DataRef
        dataset: DatasetEntry
        seed: int = 0

    def run(ctx: StageContext[CensusInputs]) -> None:
        images = DataFiles(ctx.artifact(ctx.inputs.public).path).read_images(load_tensors)
        drawn = int(torch.randint(1000, ()))
        CensusFiles(ctx.draft).write_json("people.json", {"people": int(images.classes), "drawn": drawn})

    monkeypatch.setitem(sys.modules, "census_stage", SimpleNamespace(run=run))
    return CensusInputs


def _nodes(census):
    blobs = Entry("blobs", "1", {"identities": 12})
    data = Node(DataInputs(dataset=blobs, identities=[3, 5, 8], image=IMAGE), "images")
    return data, Node(census(public=data.ref, dataset=blobs), "how many there are")


def test_it_runs_and_its_artifact_is_found_again(census, toy_registry, tmp_path):
    store = Store(tmp_path)
    data, node = _nodes(census)
    with pytest.raises(Exception, match=r"the data artifact .* is not in the store"):
        run_node(node, store, toy_registry, CPU, lambda *_: None)
    run_node(data, store, toy_registry, CPU, lambda *_: None)
    made = run_node(node, store, toy_registry, CPU, lambda *_: None)
    assert CensusFiles(made.path).people()["people"] == 3
    assert (tmp_path / "artifacts" / "census" / node.key).is_dir()
    assert run_node(node, Store(tmp_path), toy_registry, CPU, lambda *_: None).content == made.content
    other = Store(tmp_path / "other")
    again = [run_node(one, other, toy_registry, CPU, lambda *_: None) for one in (data, node)]
    assert again[1].content == made.content  # it was seeded like any other


def test_a_worker_reads_it_back(census):
    _, node = _nodes(census)
    again = Node.from_json(json.loads(json.dumps(node.to_json())))
    assert again == node
    assert type(again.inputs) is census


def test_the_plan_knows_its_time_its_files_and_its_source_code(census, toy_registry, tmp_path, monkeypatch):
    import fake_plugin.parts as parts

    data, node = _nodes(census)
    facts = Facts(toy_registry)
    assert Durations(load_protocol(toy_registry, "toy").protocol, facts).of(node) == 2.0
    assert sources_of(toy_registry, node.inputs) == sources_of(toy_registry, data.inputs)
    assert "source code of the dataset" in made_by(toy_registry, node.inputs)
    monkeypatch.setattr(parts.Blobs, "missing", lambda self: ["the blobs; run: fetch blobs"])
    assert check_node(node, Facts(toy_registry)) == ["the blobs; run: fetch blobs"]
