"""What ``mibench doctor`` looks at: each check says what it found and the command that fixes it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mibench.api.errors import MibenchError, UsageError
from mibench.registry.failures import describe_error, pip_hint, place_of
from mibench.registry.interrupts import is_interruption
from mibench.registry.registry import Registry
from mibench.store.layout import require_current
from mibench.store.store import default_root

if TYPE_CHECKING:
    from mibench.protocol.schema import Protocol

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE_GB = 2.0
Status = Literal["ok", "todo", "broken"]


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: ``ok``; ``todo`` if something optional is missing; ``broken`` if the main job cannot work.
        detail: what was found.
        fix: what to do about it; empty if nothing.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""


def checkup(registry: Registry, store: Path | None) -> Iterator[Check]:
    """Yield all checks, the fundamental ones first.

    Args:
        registry: what is installed.
        store: the store; ``None`` for the user's.
    """
    yield check_python()
    yield from check_torch()
    yield check_store(store)
    yield from check_plugins(registry)
    yield from check_protocols(registry)


def check_python() -> Check:
    """Check the version of Python."""
    new_enough = sys.version_info >= OLDEST_PYTHON
    fix = "" if new_enough else f"Use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer."
    return Check(
        "python", "ok" if new_enough else "broken", f"{platform.python_version()} on {platform.platform()}", fix
    )


def check_torch() -> Iterator[Check]:
    """Check that torch and torchvision import together, and say which devices and threads there are."""
    fix = 'Install a matching pair: pip install --upgrade "torch>=2.11" "torchvision>=0.26"'
    try:
        import torch
        import torchvision
    except Exception as error:  # a mismatched pair raises RuntimeError, a missing library OSError
        yield Check("torch", "broken", describe_error(error), fix)
        return
    from mibench.execute.contract import cpu_threads

    yield Check("torch", "ok", f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    names = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
    devices = ", ".join(names) if names else "CPU only (no CUDA device)"
    yield Check("devices", "ok", f"{devices}; {cpu_threads()} CPU threads of {os.cpu_count()} (MIBENCH_THREADS)")


def check_store(store: Path | None) -> Check:
    """Check that the store can be written and has room."""
    if store is None:
        try:
            store = default_root()
        except UsageError as error:
            return Check("store", "broken", "no folder for the store", str(error))
    place = next((folder for folder in [store, *store.absolute().parents] if folder.exists()), Path("/"))
    fix = "Choose another folder with --store or MIBENCH_STORE."
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check("store", "broken", f"{store} cannot be written", fix)
    try:
        if (store / "artifacts").is_dir():
            require_current(store)
    except (MibenchError, OSError) as error:
        return Check("store", "broken", "it has another layout than this mibench uses", str(error))
    free_gb = shutil.disk_usage(place).free / 1e9
    tight = free_gb < LITTLE_SPACE_GB
    return Check("store", "todo" if tight else "ok", f"{store}, {free_gb:.1f} GB free", fix if tight else "")


def check_plugins(registry: Registry) -> Iterator[Check]:
    """Check that every plugin loads, quickly and without a sound."""
    loaded = ", ".join(sorted({point.distribution for point in registry.plugins()}))
    yield Check(
        "plugins", "ok" if loaded else "broken", loaded or "none", "" if loaded else 'pip install "mibench[all]"'
    )
    for failure in registry.failures:
        yield Check(f"plugin {failure.distribution}", "broken", str(failure), pip_hint(failure.distribution))
    for remark in registry.remarks:
        who = f"{remark.distribution} {remark.version}"
        yield Check(f"plugin {remark.distribution}", "todo", f"{who} {remark.text}", "Tell its authors.")


def check_protocols(registry: Registry) -> Iterator[Check]:
    """Check every installed protocol, and that the default one is among them."""
    from mibench.protocol.request import DEFAULT_PROTOCOL

    names = [entry.name for entry in registry.entries("protocol")]
    if DEFAULT_PROTOCOL not in names:
        fix = 'pip install --force-reinstall "mibench[all]"'
        yield Check(f"protocol {DEFAULT_PROTOCOL}", "broken", "the default protocol is not installed", fix)
    for name in names:
        yield check_protocol(registry, name)


def check_protocol(registry: Registry, name: str) -> Check:
    """Check that a protocol's parts are installed and have their files."""
    from mibench.plan.choose import Chooser
    from mibench.plan.facts import Facts
    from mibench.plan.referee import check_referee
    from mibench.plan.settings import Settings
    from mibench.protocol.load import load_protocol
    from mibench.protocol.request import DEFAULT_PROTOCOL

    lacking: Status = "broken" if name == DEFAULT_PROTOCOL else "todo"
    try:
        loaded = load_protocol(registry, name)
        protocol, facts = loaded.protocol, Facts(registry)
        if protocol.suite:
            check_referee(Chooser(loaded, facts, Settings({}, facts)))
        needs = {
            "dataset": _missing(registry, "dataset", protocol.dataset, protocol),
            "embedder": _missing(registry, "model", protocol.embedder, protocol),
            "prior": _missing(registry, "prior", protocol.prior, protocol),
            "model": _missing(registry, "model", protocol.model, protocol),
        }
    except (MibenchError, OSError) as error:
        return Check(f"protocol {name}", lacking, str(error), f"See: mibench show protocol {name}")
    except BaseException as error:  # whatever a plugin's own check does, the other checks are made
        if is_interruption(error):
            raise
        detail = f"one of its parts broke while it was asked for its files: {describe_error(error)} ({place_of(error)})"
        return Check(f"protocol {name}", lacking, detail, f"See: mibench show protocol {name}")
    lines = [f"{part}: {line}" for part, found in needs.items() for line in found]
    if lines:
        return Check(f"protocol {protocol.id}", lacking, "needs files", "\n".join(lines))
    return Check(f"protocol {protocol.id}", "ok", protocol.summary)


def _missing(registry: Registry, kind: str, choice: Any, protocol: Protocol) -> list[str]:
    from mibench.plan.facts import Facts
    from mibench.plan.resolve import resolve
    from mibench.registry.build import build_component

    resolved = resolve(Facts(registry), kind, choice, protocol=protocol)
    component = build_component(registry, kind, resolved.entry())
    missing = getattr(component, "missing", None)
    return list(missing()) if callable(missing) else []
