"""Copy the prior and the evaluators of a protocol from a store into mibench-models, each with a card.

Usage: python scripts/ship_artifacts.py PROTOCOL [--store FOLDER] [--without-prior] [--attack ATTACK]

With --attack only the prior that this attack brings is copied (stylegan2 for if-gmi, say).

The PCA prior of orl64 is not shipped: it takes a second to make, and principal components are nearly the photographs
themselves, which nobody licensed for redistribution.

Make them first, from nothing: mibench run --protocol PROTOCOL --no-shipped --store FOLDER [--attack ATTACK]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from mibench.nodes.classifier import EvaluatorInputs
from mibench.nodes.data import DataInputs
from mibench.nodes.node import Node
from mibench.nodes.prior import PriorInputs
from mibench.plan.cells import Cell, expand
from mibench.protocol.request import Request
from mibench.registry.registry import load_registry
from mibench.store.artifact import Artifact
from mibench.store.store import Store, default_root

SHIPPED = Path(__file__).parents[1] / "plugins/mibench-models/mibench_models/shipped"
LARGEST = 8 * 2**20

CARD = """# {title}

{what}, made by the `{stage}` stage of mibench for the protocol `{protocol}`.

| | |
|---|---|
| data | {data} |
| made by | `{command}` |
| component | `{component}` |
| seed | {seed} |
| key | `{key}` |
| weights | `weights.safetensors`, {size:.1f} MB, sha256 `{sha}` |
| sanity | {sanity} |
| time | {seconds:.0f} s on {threads} CPU thread(s), torch {torch} |
| licence | {licence} |

The manifest holds the key's inputs and the checksum of every file; the store checks them before use. On another machine
the same command gives weights that differ in the last bits, because sums round differently.
"""


def main() -> None:
    """Copy the artifacts of one protocol."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol")
    parser.add_argument("--store", type=Path, default=default_root())
    parser.add_argument("--without-prior", action="store_true")
    parser.add_argument("--attack")
    arguments = parser.parse_args()
    registry, store = load_registry(), Store(arguments.store)
    request = Request(protocols=(arguments.protocol,), **({"attacks": (arguments.attack,)} if arguments.attack else {}))
    cell = expand(request, registry)[0]
    command = f"mibench run --protocol {arguments.protocol} --no-shipped"
    nodes = {} if arguments.without_prior or arguments.attack else {"prior": cell.graph.prior()}
    if arguments.attack:
        nodes, command = {cell.prior.name: cell.prior_node}, f"{command} --attack {arguments.attack}"
    else:
        nodes |= cell.graph.evaluators()
    for name, node in nodes.items():
        ship(cell, name, node, store, command)


def ship(cell: Cell, name: str, node: Node, store: Store, command: str) -> None:
    """Copy one artifact and write its card, which says by what command it was made."""
    artifact = store.get(node.stage, node.key)
    weights = artifact.file("weights.safetensors")
    if weights.stat().st_size > LARGEST:
        raise SystemExit(f"{weights} has {weights.stat().st_size} bytes; at most {LARGEST} are shipped")
    place = SHIPPED / f"{cell.loaded.protocol.name}-{name}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(artifact.path, place)
    (source,) = (cell.graph.nodes[key] for key in node.needs.values())
    text = card(cell.loaded.id, name, node, artifact, source, command)
    place.with_suffix(".md").write_text(text, encoding="utf-8")
    print(place.relative_to(SHIPPED.parents[3]), f"{weights.stat().st_size / 2**20:.1f} MB")


def card(protocol: str, name: str, node: Node, artifact: Artifact, source: Node, command: str) -> str:
    """Render the card of an artifact."""
    report = artifact.json("report.json")
    inputs = node.inputs
    if not isinstance(inputs, PriorInputs | EvaluatorInputs) or not isinstance(source.inputs, DataInputs):
        raise SystemExit(f"expected a prior or an evaluator, got the stage {node.stage}")
    entry = inputs.prior if isinstance(inputs, PriorInputs) else inputs.model
    if isinstance(inputs, PriorInputs):
        what, sanity = "The attacker's prior", f"{report['images']} images, last signals {report['last_signals']}"
    else:
        what, sanity = "A judge of reconstructions", f"accuracy {report['sanity_accuracy']}"
    dataset = source.inputs.dataset
    licences = {"orl": "weights MIT; trained on the ORL photographs (credit AT&T Laboratories Cambridge)"}
    return CARD.format(
        title=f"{protocol}: {name}",
        what=what,
        stage=node.stage,
        protocol=protocol,
        command=command,
        data=f"{source.label}, parameters {dataset.params}",
        component=f"{entry.name} {entry.params}",
        seed=inputs.seed,
        key=node.key,
        size=artifact.file("weights.safetensors").stat().st_size / 2**20,
        sha=artifact.files["weights.safetensors"],
        sanity=sanity,
        seconds=artifact.meta["seconds"],
        threads=artifact.meta["threads"],
        torch=artifact.meta["torch"],
        licence=licences.get(dataset.name, "weights MIT; trained on CC0 renderings"),
    )


if __name__ == "__main__":
    main()
