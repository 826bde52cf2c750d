"""No private photograph leaves in a bundle, not even as a reconstruction: compared pixel by pixel.

Shapes: N images, C channels, H = W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from mibench.bundles.manifest import BundleError
from mibench.nodes.data import DataFiles
from mibench.nodes.reconstruct import ReconstructFiles
from mibench.store.artifact import Artifact

_ROWS = 256


def require_no_photograph(evidence: Artifact, private: set[bytes]) -> None:
    """Refuse reconstructions among which there is a private photograph.

    Args:
        evidence: artifact of reconstructions.
        private: what :func:`fingerprints` returned for the private images.

    Raises:
        BundleError: if there is one.
    """
    found = ReconstructFiles(evidence.path).read_evidence(load_file)
    for place, print_ in enumerate(_prints(found.pixels)):
        if print_ and print_ in private:
            raise BundleError(
                f"image {place} of the reconstructions {evidence.key[:12]} is a private photograph, pixel by pixel (of"
                f" class {int(found.labels[place])}). Photographs are never packed: look at what the attack delivers"
            )


def fingerprints(data: Iterable[Artifact]) -> set[bytes]:
    """Return a digest of every image of some data artifacts, read a few at a time."""
    return {print_ for artifact in data for pixels in _batches(artifact) for print_ in _prints(pixels)}


def _batches(artifact: Artifact) -> Iterator[NDArray[np.uint8]]:
    files = DataFiles(artifact.path)
    images = files.read_images(load_file)
    if images.pixels is not None:
        yield images.pixels
        return
    with safe_open(files.pixels, framework="np") as opened:
        pixels = opened.get_slice("pixels")
        for start in range(0, pixels.get_shape()[0], _ROWS):
            yield pixels[start : start + _ROWS]


def _prints(pixels_NCHW: NDArray[np.uint8]) -> Iterator[bytes]:
    """Yield a digest of each image, the same in grey as in equal channels; that of one flat tone says nothing."""
    for image in pixels_NCHW:
        plain = image[:1] if (image == image[:1]).all() else image
        flat = (plain == plain.flat[0]).all()
        yield b"" if flat else hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=16).digest()
