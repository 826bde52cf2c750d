"""Which device each worker holds: every worker leases one slot and no slot is leased twice."""

from __future__ import annotations

from mibench.api.errors import UsageError


def device_slots(device: str, workers: int, gpus: int) -> list[str]:
    """Return one device per worker.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        workers: worker processes that were asked for.
        gpus: CUDA devices that torch sees.

    Returns:
        With GPUs, at most one worker per GPU unless one GPU was named; on the CPU, as many as asked for.

    Raises:
        UsageError: if a GPU was asked for and there is none.
    """
    if device == "cpu" or (device == "auto" and gpus == 0):
        return ["cpu"] * workers
    if gpus == 0:
        raise UsageError(f"the device {device!r} was asked for, but torch sees no CUDA device")
    if device in ("auto", "cuda"):
        return [f"cuda:{index}" for index in range(min(workers, gpus))]
    return [device] * workers
