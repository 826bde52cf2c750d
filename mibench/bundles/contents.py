"""What is in a bundle, read as data and compared with itself: records, protocol and artifacts belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mibench.api.errors import MibenchError
from mibench.bundles.manifest import PROTOCOL, ArtifactEntry, BundleError, Manifest
from mibench.bundles.needs import Needs
from mibench.plan.cells import Cell
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.results.io import label, load_record, verify_digest
from mibench.results.record import Record
from mibench.store.artifact import MANIFEST, Artifact, inspect


@dataclass(frozen=True)
class Contents:
    """What a bundle holds.

    Attributes:
        manifest: its manifest.
        protocol: the protocol of its records.
        records: the records.
        artifacts: targets, reconstructions and judges, by key.
    """

    manifest: Manifest
    protocol: LoadedProtocol
    records: tuple[Record, ...]
    artifacts: Mapping[str, Artifact]


def read_contents(manifest: Manifest, folder: Path) -> Contents:
    """Read the files of a bundle, whose digests were checked.

    Raises:
        BundleError: if they do not belong together.
    """
    try:
        protocol = parse_protocol((folder / PROTOCOL).read_text(encoding="utf-8"), source=f"{PROTOCOL} of the bundle")
    except (MibenchError, ValueError) as error:
        raise BundleError(str(error)) from None
    if protocol.digest != manifest.protocol_digest or protocol.protocol.id != manifest.protocol:
        raise BundleError(f"{PROTOCOL} of the bundle is not {manifest.protocol} as its manifest states it")
    records = tuple(_record(folder / entry.file, entry.digest, protocol) for entry in manifest.records)
    artifacts = {entry.key: _artifact(folder, entry, manifest) for entry in manifest.artifacts}
    return Contents(manifest, protocol, records, artifacts)


def require_evidence(record: Record, cell: Cell, needs: Needs, contents: Contents) -> None:
    """Refuse a bundle without what a record was measured from, or with something else.

    Raises:
        BundleError: if a target or reconstructions are missing, or are not those that the record states.
    """
    for node in needs.packed:
        if node.key not in contents.artifacts:
            raise BundleError(
                f"{label(record)}: the bundle has no {node.stage} {node.label} as the installed plugins plan it"
                f" ({node.key[:12]}). Another target or attack cannot be measured from this evidence: it has to be run"
            )
    for role, node in {"target": cell.target, "reconstructions": cell.reconstructions}.items():
        _require_stated(record, role, contents.artifacts[node.key])
    for role, node in needs.judges.items():
        if node.key in contents.artifacts:
            _require_stated(record, role, contents.artifacts[node.key])


def _require_stated(record: Record, role: str, artifact: Artifact) -> None:
    if record.inputs.get(role) != artifact.content:
        raise BundleError(
            f"{label(record)}: the {role} in the bundle ({artifact.content[:12]}) is not the one that the record states"
            f" ({record.inputs.get(role, 'none')[:12]})"
        )


def _record(path: Path, digest: str, protocol: LoadedProtocol) -> Record:
    record = load_record(path)
    if not verify_digest(record) or record.digest != digest:
        raise BundleError(f"{path.name} of the bundle was edited: its digest does not fit")
    if record.protocol.digest != protocol.digest or record.status != "done" or record.protocol.variant != "test":
        raise BundleError(f"{path.name} of the bundle is no finished record of {protocol.protocol.id}")
    return record


def _artifact(folder: Path, entry: ArtifactEntry, manifest: Manifest) -> Artifact:
    prefix = f"{entry.folder}/"
    listed = {name.removeprefix(prefix) for name in manifest.files if name.startswith(prefix)} - {MANIFEST}
    try:
        problem, artifact = inspect(folder / entry.folder, entry.key)
    except OSError as error:
        problem, artifact = str(error), None
    if artifact is None:
        raise BundleError(f"{entry.folder} of the bundle is damaged: {problem}")
    if set(artifact.files) != listed or (artifact.stage, artifact.content) != (entry.stage, entry.content):
        raise BundleError(f"{entry.folder} of the bundle is not what its manifest lists")
    return artifact
