"""The files of a bundle: written whole as a folder or a zip archive, and read as data that nobody has vouched for."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mibench.api.errors import UsageError
from mibench.api.files import sha256_of_file
from mibench.base.files import sync_folder, write_atomic
from mibench.bundles.manifest import MANIFEST, MAX_MANIFEST, BundleError, FileEntry, Manifest, read_manifest

_BLOCK = 2**20
_DATE = (1980, 1, 1, 0, 0, 0)
Source = Path | bytes


def entry_of(source: Source) -> FileEntry:
    """Return the digest and the size of a file that is to be packed."""
    if isinstance(source, bytes):
        return FileEntry(sha256=hashlib.sha256(source).hexdigest(), size=len(source))
    return FileEntry(sha256=sha256_of_file(source), size=source.stat().st_size)


def write_bundle(out: Path, manifest: Manifest, sources: Mapping[str, Source]) -> Path:
    """Write a bundle, whole or not at all: a zip archive if the name ends so, else a folder.

    The same bundle has the same bytes, in an archive as long as zlib compresses alike.

    Raises:
        UsageError: if there is something already.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} is there already; give another name with --out, or remove it")
    files = {MANIFEST: _text(manifest), **sources}
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.parent / f".{out.name}.{secrets.token_hex(4)}"
    try:
        if is_archive(out):
            _write_archive(draft, files)
        else:
            _write_folder(draft, files)
            if out.exists():
                out.rmdir()
        draft.rename(out)
        sync_folder(out.parent)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)
    return out


def is_archive(path: Path) -> bool:
    """Tell by its name whether a bundle is an archive."""
    return path.suffix.lower() == ".zip"


@contextmanager
def opened(path: Path, room: Path) -> Iterator[tuple[Manifest, Path]]:
    """Yield the manifest of a bundle and a folder with its files, every one of them checked.

    Args:
        path: the folder, or the archive.
        room: existing folder in which an archive is unpacked for that long.

    Raises:
        BundleError: if a file is missing, damaged, or too many; for links and names that lead elsewhere.
    """
    if path.is_dir():
        manifest = _manifest_of(path)
        _check_folder(path, manifest)
        yield manifest, path
        return
    folder = room / f"unpacked-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield _unpack(path, folder), folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _text(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=1).encode() + b"\n"


def _write_folder(draft: Path, files: Mapping[str, Source]) -> None:
    for name, source in sorted(files.items()):
        place = draft / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            write_atomic(place, source)
        else:
            shutil.copyfile(source, place)


def _write_archive(draft: Path, files: Mapping[str, Source]) -> None:
    with zipfile.ZipFile(draft, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(files.items(), key=lambda item: (item[0] != MANIFEST, item[0])):
            told = zipfile.ZipInfo(name, _DATE)
            told.compress_type, told.external_attr, told.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            with archive.open(told, "w", force_zip64=size > 2**31) as into:
                if isinstance(source, bytes):
                    into.write(source)
                else:
                    with source.open("rb") as content:
                        shutil.copyfileobj(content, into, _BLOCK)


def _manifest_of(folder: Path) -> Manifest:
    place = folder / MANIFEST
    if place.is_symlink() or not place.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}; make one with: mibench leaderboard bundle")
    if place.stat().st_size > MAX_MANIFEST:
        raise BundleError(f"{place} is larger than {MAX_MANIFEST // 2**20} MiB; that is no manifest")
    return read_manifest(place.read_bytes(), str(folder))


def _check_folder(folder: Path, manifest: Manifest) -> None:
    found = set()
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BundleError(f"{path} is a link or no plain file; a bundle's files are its own")
        found |= {Path(place, name).relative_to(folder).as_posix() for name in names}
    _same_names(str(folder), found - {MANIFEST}, manifest)
    for name, entry in manifest.files.items():
        path = folder / name
        if path.stat().st_size != entry.size or sha256_of_file(path) != entry.sha256:
            raise _damaged(str(folder), name)


def _unpack(path: Path, folder: Path) -> Manifest:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {told.filename: told for told in archive.infolist()}
            if len(members) != len(archive.infolist()):
                raise BundleError(f"{path} holds a file twice; it was not written by mibench")
            if MANIFEST not in members or members[MANIFEST].file_size > MAX_MANIFEST:
                raise BundleError(f"{path} is no bundle: it has no {MANIFEST}")
            for told in members.values():
                _require_plain_file(path, told)
            with archive.open(members[MANIFEST]) as content:
                manifest = read_manifest(content.read(MAX_MANIFEST + 1), str(path))
            _same_names(str(path), set(members) - {MANIFEST}, manifest)
            for name, entry in manifest.files.items():
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(members[name]) as content, place.open("xb") as into:
                    _copy_checked(content, into, entry, str(path), name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(f"{path} is no zip archive that can be read: {error}") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be unpacked: {error.strerror or error}") from None
    return manifest


def _require_plain_file(path: Path, told: zipfile.ZipInfo) -> None:
    mode = told.external_attr >> 16
    if told.is_dir() or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)) or told.flag_bits & 1:
        raise BundleError(f"{path}: {told.filename[:200]!r} is a link, a folder or encrypted; bundles hold plain files")


def _same_names(where: str, found: set[str], manifest: Manifest) -> None:
    if missing := sorted(set(manifest.files) - found):
        raise BundleError(f"{where} lacks {missing[0]}; get the bundle again")
    if extra := sorted(found - set(manifest.files)):
        raise BundleError(f"{where} holds {extra[0][:200]!r}, which its manifest does not list; get the bundle again")


def _copy_checked(content: IO[bytes], into: IO[bytes], entry: FileEntry, where: str, name: str) -> None:
    """Copy what the manifest promises, and never more, whatever the archive says that it holds."""
    left, seen = entry.size, hashlib.sha256()
    while block := content.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise _damaged(where, name)
        seen.update(block)
        into.write(block)
    if left or seen.hexdigest() != entry.sha256:
        raise _damaged(where, name)


def _damaged(where: str, name: str) -> BundleError:
    return BundleError(f"{where}: {name} is not what the manifest says (size or sha256); get the bundle again")
