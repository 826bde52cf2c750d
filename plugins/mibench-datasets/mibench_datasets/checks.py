"""Checks of what a protocol asks a dataset for."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.api import UsageError


def check_request(dataset: str, identities: Sequence[int], available: int, *, size: int = 1, channels: int = 3) -> None:
    """Do nothing if the request can be served.

    Args:
        dataset: name for the error.
        identities: requested identity numbers.
        available: number of identities of the dataset.
        size: requested side in pixels.
        channels: requested channels.

    Raises:
        UsageError: for identities outside [0, available), a size below 1, or channels other than 1 and 3.
    """
    wrong = sorted(number for number in identities if not 0 <= number < available)
    if wrong:
        raise UsageError(
            f"dataset {dataset!r} has identities 0 to {available - 1}, got {wrong[:5]}; "
            "ask for fewer identities, or raise the dataset's parameter 'identities' if it has one."
        )
    if size < 1:
        raise UsageError(
            f"dataset {dataset!r}: expected a size of at least 1 pixel, got {size}; set the protocol's size."
        )
    if channels not in (1, 3):
        raise UsageError(f"dataset {dataset!r}: expected 1 (grey) or 3 (RGB) channels, got {channels}.")
