"""Records on disk: atomic to write, checked to read. A file is foreign data until :func:`load_record` accepts it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from mibench.api.errors import MibenchError
from mibench.base.canonical import canonical_json, digest
from mibench.base.files import write_atomic
from mibench.results import migrations
from mibench.results.foreign import unusable
from mibench.results.record import SCHEMA_VERSION, Origin, Record

MAX_BYTES = 16 * 2**20
"""Records of 20 classes have 80 kB; ranks of a hundred thousand images would have about 10 MB."""
NOT_COMPARED = migrations.NOT_COMPARED
"""Parts of a record that may differ between two runs that agree."""
MIGRATE = "mibench leaderboard migrate-records"


class RecordError(MibenchError):
    """A record file is damaged, too large, or not a record; the message names the file and the place in it."""


def compared(record: Record) -> dict[str, Any]:
    """Return the part of a record that a repetition must reproduce, as plain values."""
    return record.model_dump(exclude=set(NOT_COMPARED))


def seal(record: Record) -> Record:
    """Return the record with the digest of its compared part.

    Raises:
        RecordError: if a value is not JSON, NaN or infinite; the message holds the path to it.
    """
    return record.model_copy(update={"digest": _canonical(record, digest, compared(record))})


def verify_digest(record: Record) -> bool:
    """Tell whether a record's digest fits its content."""
    return record.digest == seal(record).digest


def label(record: Record) -> str:
    """Return what people read: ``orl64@1.0 · smallcnn · atat × ppa · seed 0``."""
    cell, protocol = record.cell, record.protocol
    variant = "" if protocol.variant == "test" else f"+{protocol.variant}"
    where = f"{protocol.name}@{protocol.version}{variant}"
    return f"{where} · {cell.model} · {cell.defense} × {cell.attack_label} · seed {cell.seed}"


def file_name(record: Record) -> str:
    """Return the name of a record's file: protocol, model, defense, attack, seed and the start of the cell's key."""
    cell, protocol = record.cell, record.protocol
    variant = "" if protocol.variant == "test" else f"_{protocol.variant}"
    names = (f"{protocol.name}@{protocol.version}{variant}", cell.model, cell.defense, cell.attack_label)
    return "-".join([*map(_slug, names), f"s{cell.seed}", _slug(cell.key)[:12]]) + ".json"


def save_record(record: Record, folder: Path) -> Path:
    """Seal a record and write it atomically into a folder, which is made if need be.

    Returns:
        The file; a record of the same cell is replaced.

    Raises:
        RecordError: if a value is not JSON, NaN or infinite.
        OSError: if the file cannot be written.
    """
    return write_atomic(folder / file_name(record), record_text(record))


def record_text(record: Record) -> str:
    """Return a record, sealed, as the text of its file.

    Raises:
        RecordError: if a value is not JSON, NaN or infinite.
    """
    plain = json.loads(_canonical(record, canonical_json, seal(record).model_dump()))
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def load_record(path: Path, *, lossy: bool = False) -> Record:
    """Read a record and validate it against the schema.

    The digest is not checked here; see :func:`verify_digest`. A record of an older form is read as one of this form
    (:mod:`mibench.results.migrations`): its digest is checked, it is sealed anew, and its origins name what it was.

    Args:
        path: the file.
        lossy: read an older form also where something of it has no place any more.

    Raises:
        RecordError: for a file that is missing, larger than 16 MiB, not JSON (keys that occur twice, NaN, infinities,
            numbers beyond 64 bits, half characters and deep nesting are not), not a record, of a newer form, or of an
            older one that cannot be read without loss.
    """
    text = _read(path)
    try:
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise RecordError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not a valid JSON document: {error}") from None
    if isinstance(raw, dict) and (problem := next(unusable(raw), None)):
        raise RecordError(f"{path} is not a record: {problem}")
    version = _check_version(path, raw)
    if version < SCHEMA_VERSION:
        return _of_older_form(path, raw, version, lossy=lossy)
    return _validated(path, text)


def _of_older_form(path: Path, raw: dict[str, Any], version: int, *, lossy: bool) -> Record:
    lost = migrations.losses(version)
    if lost and not lossy:
        raise RecordError(
            f"{path} has schema version {version}, and version {SCHEMA_VERSION} has no place for {'; '.join(lost)}."
            f" Migrate it with: {MIGRATE} {path}"
        )
    if migrations.digest_of(raw, version) != raw.get("digest"):
        raise RecordError(f"{path} does not have the digest that it states, so the file was edited")
    try:
        now = migrations.migrated(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{path} is not a record of schema version {version}: {error!r}") from None
    record = _validated(path, json.dumps(now))
    where = f"{record.protocol.name}@{record.protocol.version}"
    try:
        was = Origin(protocol=where, digest=raw["digest"], change="schema", schema_version=version)
    except ValidationError as error:
        raise RecordError(f"{path} is not a record: {_explain(error)}") from None
    return seal(record.model_copy(update={"origins": [*record.origins, was]}))


def _validated(path: Path, text: str) -> Record:
    try:
        return Record.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise RecordError(f"{path} is not a record: {_explain(error)}") from None


def _canonical(record: Record, form: Callable[[Any], str], content: dict[str, Any]) -> str:
    try:
        return form(content)
    except (ValueError, TypeError) as error:
        raise RecordError(f"the record of {label(record)} cannot be saved: {error}") from None


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise RecordError(f"{path} is no file; expected the JSON file of a record")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise RecordError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; that is no record")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not UTF-8 text at byte {error.start}") from None


def _check_version(path: Path, raw: Any) -> int:
    if not isinstance(raw, dict):
        raise RecordError(f"{path} holds a JSON {type(raw).__name__}; expected an object")
    version, oldest = raw.get("schema_version"), migrations.oldest()
    if type(version) is not int or version < oldest:
        raise RecordError(
            f"{path} has schema_version {version!r}; expected a whole number from {oldest} to {SCHEMA_VERSION}"
        )
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version}, but this mibench reads up to {SCHEMA_VERSION}. "
            "Update with: pip install --upgrade mibench"
        )
    return version


def _explain(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5]]
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more else "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in one object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON allows")


def _slug(name: str) -> str:
    """Keep letters, digits and ``._@-``; the rest, and a leading dot, becomes ``_``: no name leaves its folder."""
    return re.sub(r"^\.|[^A-Za-z0-9._@-]", "_", name)[:48] or "_"
