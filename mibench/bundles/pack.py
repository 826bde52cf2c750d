"""Pack the evidence of records: what their store holds of them, checked against what they state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mibench.api.errors import MibenchError, UsageError
from mibench.assemble.records import cell_ref
from mibench.assemble.replay import planned_cell
from mibench.bundles.files import Source, entry_of, write_bundle
from mibench.bundles.judges import judges_of
from mibench.bundles.manifest import PROTOCOL, ArtifactEntry, BundleError, Manifest, RecordEntry, require_plain
from mibench.bundles.needs import Needs, needs_of
from mibench.bundles.photographs import fingerprints, require_no_photograph
from mibench.bundles.readme import README, readme
from mibench.bundles.terms import require_publishable, terms_of
from mibench.nodes.node import Node
from mibench.nodes.reconstruct import ReconstructInputs
from mibench.plan.cells import Cell
from mibench.plan.memo import Memo
from mibench.protocol.load import LoadedProtocol
from mibench.registry.registry import Registry
from mibench.results.io import file_name, label, load_record, verify_digest
from mibench.results.record import Record
from mibench.store.artifact import MANIFEST, Artifact
from mibench.store.store import Store


@dataclass
class _Packed:
    """What goes into a bundle."""

    sources: dict[str, Source] = field(default_factory=dict)
    artifacts: dict[str, ArtifactEntry] = field(default_factory=dict)

    def add(self, artifact: Artifact) -> None:
        if artifact.key in self.artifacts:
            return
        folder = f"artifacts/{artifact.stage}-{artifact.key[:24]}"
        for name in (MANIFEST, *artifact.files):
            require_plain(f"{folder}/{name}", "the store")
            self.sources[f"{folder}/{name}"] = artifact.file(name)
        self.artifacts[artifact.key] = ArtifactEntry.model_validate(
            {"folder": folder, "stage": artifact.stage, "key": artifact.key, "content": artifact.content}
        )


def read_records(paths: Iterable[Path]) -> list[Record]:
    """Read records that are to be packed together: finished ones of one protocol, as they were sealed.

    Raises:
        UsageError: if they do not belong together, or are not results.
        RecordError: if a file is no record.
    """
    records: list[Record] = []
    for path in paths:
        record = load_record(path)
        if record.status != "done" or record.protocol.variant != "test":
            raise UsageError(
                f"{path} is of a failed cell or of the validation variant; there is nothing to measure again"
            )
        if not verify_digest(record):
            raise UsageError(f"{path} was edited: its digest does not fit. Take the file that the run wrote")
        if records and record.protocol != records[0].protocol:
            raise UsageError(
                f"{path} is of another protocol than the records before it; make a bundle for each protocol"
            )
        records.append(record)
    return records


def pack(
    records: Sequence[Record],
    protocol: LoadedProtocol,
    store: Store,
    registry: Registry,
    memo: Memo,
    out: Path,
    *,
    private: bool = False,
    judges: bool = True,
) -> Manifest:
    """Write a bundle of records and of what their numbers were measured from.

    Args:
        records: of one protocol; see :func:`read_records`.
        protocol: that protocol.
        store: where the evidence is.
        registry: where components are found.
        memo: of what components said earlier.
        out: the bundle; an archive if its name ends with ``.zip``, else a folder.
        private: whether it is for people who may see the data, and not for everybody.
        judges: whether the weights of judges are packed beside their identities.

    Raises:
        UsageError: if terms do not let reconstructions be published, or if the store lacks something; it names the
            commands that make it.
        BundleError: if the store holds something else than the records state.
    """
    cells = [_cell(record, protocol, registry, memo) for record in records]
    terms = terms_of(cells, registry)
    if not private:
        require_publishable(terms)
    needs = [needs_of(cell) for cell in cells]
    _require_all(records, needs, store, judges=judges)
    for record, cell, need in zip(records, cells, needs, strict=True):
        _check_stated(record, cell, need, store)
    packed = collected(needs, store, judges=judges)
    packed.sources |= {name: _text(record) for name, record in _named(records)}
    packed.sources[PROTOCOL] = protocol.text.encode()
    manifest = Manifest(
        private=private,
        protocol=protocol.protocol.id,
        protocol_digest=protocol.digest,
        terms=terms,
        records=[RecordEntry(file=name, digest=record.digest) for name, record in _named(records)],
        artifacts=list(packed.artifacts.values()),
        judges=judges_of(records, needs, set(packed.artifacts)),
        files={},
    )
    return _written(manifest, packed, out)


def _written(manifest: Manifest, packed: _Packed, out: Path) -> Manifest:
    """Write a bundle with a page for readers, and return its manifest with every file in it."""
    packed.sources[README] = readme(manifest).encode()
    listed = {name: entry_of(source) for name, source in sorted(packed.sources.items())}
    manifest = manifest.model_copy(update={"files": listed})
    write_bundle(out, manifest, packed.sources)
    return manifest


def _named(records: Sequence[Record]) -> list[tuple[str, Record]]:
    return [(f"records/{file_name(record)}", record) for record in records]


def collected(needs: Sequence[Needs], store: Store, *, judges: bool) -> _Packed:
    """Return the artifacts of some cells, each once, after a look for photographs among the reconstructions.

    Those of a cell are compared with its own private people: in a protocol with folds they are public in the others.
    """
    packed = _Packed()
    known: dict[frozenset[str], set[bytes]] = {}
    for need in needs:
        people = frozenset(node.key for node in need.private)
        if people not in known:
            known[people] = fingerprints(_found(store, need.private))
        for artifact in _found(store, (*need.packed, *(need.judges.values() if judges else ()))):
            if artifact.stage == ReconstructInputs.stage and artifact.key not in packed.artifacts:
                require_no_photograph(artifact, known[people])
            packed.add(artifact)
    return packed


def _text(record: Record) -> bytes:
    return (record.model_dump_json(indent=1) + "\n").encode()


def _cell(record: Record, protocol: LoadedProtocol, registry: Registry, memo: Memo) -> Cell:
    try:
        cell = planned_cell(record, protocol, registry, memo)
    except MibenchError as error:
        raise UsageError(f"{label(record)} cannot be planned: {error}") from None
    if cell_ref(cell).key != record.cell.key:
        raise UsageError(
            f"{label(record)}: its cell comes out with another key here; `mibench leaderboard check` says what differs"
        )
    return cell


def _require_all(records: Sequence[Record], needs: Sequence[Needs], store: Store, *, judges: bool) -> None:
    lacking: dict[str, list[str]] = {}
    for record, need in zip(records, needs, strict=True):
        wanted = [*need.packed, *need.private, *(need.judges.values() if judges else ())]
        absent = [f"{node.stage} {node.label}" for node in wanted if store.find(node.stage, node.key) is None]
        if absent:
            lacking[record.command] = absent
    if lacking:
        lines = [f"  {command}\n    makes {'; '.join(dict.fromkeys(absent))}" for command, absent in lacking.items()]
        told = "\n".join(lines)
        raise UsageError(
            f"the store {store.root} lacks evidence. Run there, or name the right one with --store:\n{told}"
        )


def _found(store: Store, nodes: Iterable[Node]) -> list[Artifact]:
    return [store.get(node.stage, node.key) for node in nodes]


def _check_stated(record: Record, cell: Cell, need: Needs, store: Store) -> None:
    """Refuse evidence that is not what the record, or one of its measurements, was made from."""
    stated: Mapping[str, Node] = {"target": cell.target, "reconstructions": cell.reconstructions, **need.judges}
    for role, node in stated.items():
        content = store.get(node.stage, node.key).content
        if record.inputs.get(role) not in (None, content):
            raise BundleError(
                f"{label(record)}: the store {store.root} holds another {role} ({content[:12]}) than the record"
                f" states ({record.inputs[role][:12]}): it was made again since and came out otherwise. Name"
                " the store that the record was made in with --store"
            )
    kept = {node.key: store.get(node.stage, node.key).content for node in need.packed}
    for node in need.measures:
        made = store.find(node.stage, node.key)
        for role, content in (made.meta.get("inputs", {}) if made else {}).items():
            key = node.needs.get(role, "")
            if kept.get(key, content) != content:
                raise BundleError(
                    f"{label(record)}: {node.label} was measured from another {role} than the store {store.root} holds"
                    " now; run the record's command again and pack what comes out"
                )
