"""What a result was made with: packages, threads, device, precision, as the manifests of its stages state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibench.results.reports import EnvironmentReport

FLAT = ("python", "platform", "cuda", "cores", "threads", "precision")
NOTE = "the stages of this cell were computed in different environments"


def environment(device: str) -> EnvironmentReport:
    """Describe this process; no host names, users or paths."""
    from mibench.stages.environment import describe  # imports torch, as few records need it
    from mibench.stages.run import pick_device

    return joined({"this process": describe(pick_device(device))})


def joined(metas: Mapping[str, Mapping[str, Any]]) -> EnvironmentReport:
    """Describe the environments of several stages as one.

    Args:
        metas: what the manifest of each stage states, by role. Old ones state torch, mibench and device alone.

    Returns:
        What the stages agree on. Where they differ, a list of all values, with a ``note``, and under ``differences``
        which stages had which; ``not_stated_by`` names those whose manifests leave the rest open.
    """
    stated = {role: _fields(meta) for role, meta in metas.items()}
    found: dict[str, Any] = {}
    differences: dict[str, dict[str, list[str]]] = {}
    for name in dict.fromkeys(name for fields in stated.values() for name in fields):
        by_value: dict[str, list[str]] = {}
        values = []
        for role, fields in stated.items():
            if name in fields:
                by_value.setdefault(str(fields[name]), []).append(role)
                values.append(fields[name])
        different = list(dict.fromkeys(values))
        _put(found, name, different[0] if len(different) == 1 else different)
        if len(different) > 1:
            differences[name] = by_value
    if differences:
        found |= {"note": NOTE, "differences": differences}
    silent = [role for role, fields in stated.items() if "python" not in fields]
    return EnvironmentReport.model_validate({**found, **({"not_stated_by": silent} if silent else {})})


def _fields(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest states, each package as ``packages.NAME``."""
    fields = {name: meta[name] for name in FLAT if name in meta}
    packages = {**meta.get("packages", {}), **{name: meta[name] for name in ("mibench", "torch") if name in meta}}
    fields |= {f"packages.{name}": version for name, version in packages.items()}
    if "device" in meta:
        named = meta.get("device_name", "cpu")
        fields["device"] = named if meta["device"] != "cpu" and named != "cpu" else meta["device"]
    return fields


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    group, _, inner = name.rpartition(".")
    (found.setdefault(group, {}) if group else found)[inner] = value
