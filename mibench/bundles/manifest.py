"""What ``bundle.json`` says: records, terms, artifacts, judges, and the digest of every file.

A bundle is a folder, or a zip archive of one::

    bundle.json                      this manifest
    README.txt                       what it is, for people
    protocol.yaml                    the frozen protocol
    records/<record>.json            the records, as they were published
    artifacts/<stage>-<key>/         targets, reconstructions and judges, as the store holds them

Reconstructions are safetensors with 8-bit pixels, the very ones that judges saw, so nothing is rounded on the way.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mibench.api.errors import MibenchError
from mibench.base.canonical import digest
from mibench.nodes.classifier import EvaluatorInputs, TargetInputs
from mibench.nodes.reconstruct import ReconstructInputs

MANIFEST = "bundle.json"
PROTOCOL = "protocol.yaml"
FORMAT = "mibench-bundle"
VERSION = 1
MAX_MANIFEST = 64 * 2**20
MAX_BYTES = 64 * 2**30
"""What all files of a bundle may hold together."""
STAGES = (TargetInputs.stage, ReconstructInputs.stage, EvaluatorInputs.stage)
"""Stages whose artifacts a bundle may hold: none of them holds photographs."""

_SEGMENT = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,199}")
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BundleError(MibenchError):
    """A bundle is damaged, is not one, or does not hold what its records need; the message says what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Part):
    """A file: its digest, and its size in bytes."""

    sha256: Digest
    size: Annotated[int, Field(ge=0, le=MAX_BYTES)]


class Terms(_Part):
    """What a data set's terms say of reconstructions.

    Attributes:
        dataset: its name.
        licence: SPDX identifier.
        reconstructions: whether they may be published.
        terms: why.
    """

    dataset: str
    licence: str
    reconstructions: Literal["publish", "private"]
    terms: str


class RecordEntry(_Part):
    """A record: its file, and its digest."""

    file: str
    digest: Digest


class ArtifactEntry(_Part):
    """An artifact: where it lies, the stage that made it, its key, and the digest of what it holds."""

    folder: str
    stage: Literal["target", "reconstruct", "evaluator"]
    key: Digest
    content: Digest


class JudgeEntry(_Part):
    """A judge.

    Attributes:
        role: its role in records.
        name: of its architecture.
        version: of that one's numbers.
        distribution: what provides it.
        key: what a judge has to be trained as; empty for an embedder, which is installed.
        content: the digest of the weights that judged; empty for an embedder.
        packed: whether they are in the bundle.
    """

    role: str
    name: str
    version: str
    distribution: str
    key: str = ""
    content: str = ""
    packed: bool = False


class Manifest(_Part):
    """What a bundle holds.

    Attributes:
        format: says that it is a bundle.
        version: of the format.
        private: whether it must not be published, because terms do not let its reconstructions be.
        protocol: ``name@version``.
        protocol_digest: of the frozen protocol.
        terms: of the data sets that the reconstructions come from.
        records: what can be measured again.
        artifacts: what it is measured from.
        judges: who judged.
        files: every other file by its path.
    """

    format: Literal["mibench-bundle"] = "mibench-bundle"
    version: Literal[1] = 1
    private: bool
    protocol: str
    protocol_digest: Digest
    terms: list[Terms]
    records: list[RecordEntry]
    artifacts: list[ArtifactEntry]
    judges: list[JudgeEntry]
    files: dict[str, FileEntry]

    @property
    def digest(self) -> str:
        """What the bundle *is*: the same for a folder and an archive, whenever it was packed."""
        return digest(self.model_dump(mode="json"))

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


def read_manifest(text: bytes, where: str) -> Manifest:
    """Read and check a manifest.

    Raises:
        BundleError: if it is none, is of a newer format, or names a file that leads out of the bundle.
    """
    try:
        found = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise BundleError(f"{where}: {MANIFEST} is not that of a bundle: {place}: {first['msg']}") from None
    for name in [*found.files, *(entry.folder for entry in found.artifacts)]:
        require_plain(name, where)
    folded: dict[str, str] = {}
    for name in found.files:
        if (twin := folded.setdefault(name.casefold(), name)) != name:
            raise BundleError(f"{where}: {twin} and {name} are one file on some systems; the bundle is not used")
    if found.size > MAX_BYTES:
        raise BundleError(f"{where} would take {found.size / 2**30:.0f} GiB; bundles have up to {MAX_BYTES // 2**30}")
    absent = [entry.file for entry in found.records if entry.file not in found.files]
    if absent or PROTOCOL not in found.files:
        raise BundleError(f"{where}: {MANIFEST} lists no file {(absent or [PROTOCOL])[0]}")
    return found


def require_plain(name: str, where: str) -> None:
    """Refuse a name that could lead out of a bundle, or that some systems do not keep.

    Raises:
        BundleError: for an absolute one, ``..``, a backslash, a leading dot or another odd character.
    """
    parts = name.split("/")
    if len(name) > 400 or len(parts) > 8 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise BundleError(
            f"{where} names the file {name[:200]!r}; expected a path inside the bundle of letters, digits and ._@+-"
        )
