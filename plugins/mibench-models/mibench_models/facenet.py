"""The embedder ``facenet``: Inception-ResNet-v1, by which papers measure the distance of faces; weights by file.

Shapes: N images, C channels, H = W pixels, embeddings of 512 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn.functional import normalize

from mibench.api import DataError, Embedder, InputFile, freeze, read_state, resize, sha256_of_file, to_rgb
from mibench_models.facenet_network import DIMENSIONS, SIDE, InceptionResnetV1

FILE = "20180402-114759-vggface2.pt"
"""Name of the weights that were trained on VGGFace2."""
SHA256 = "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"
"""Digest of that file, 111 898 327 bytes."""
PLACE = f"~/.cache/mibench-imported/facenet/{Path(FILE).stem}/{FILE}"
"""Where ``mibench data import-facenet`` writes unless told otherwise."""

HOW_TO_GET = (
    f"To get it: download {FILE} from the release v2.2.9 of github.com/timesler/facenet-pytorch, then run: mibench data"
    f" import-facenet {FILE}"
)
BATCH = 64
_DIVISOR = {"fixed": 128 / 255, "half": 0.5}
_CLASSIFIER = "logits."


@dataclass(frozen=True, kw_only=True)
class FaceNet(Embedder):
    """FaceNet embeddings, 512 dimensions of length 1; papers square their Euclidean distances (0 to 4).

    Images are resized to 160 x 160. Faces are expected to be roughly upright and centred; no detector runs. The weights
    were trained on VGGFace2, which has been withdrawn and holds many celebrities: for research only, and no stranger to
    FaceScrub and CelebA.

    Source: Schroff et al., FaceNet (CVPR 2015); weights of facenet-pytorch 2.2.9 (99.65 % on LFW by its own account).

    Attributes:
        weights: the file, as published: a state dict in facenet-pytorch's naming.
        weights_sha256: digest that the file must have; empty checks nothing. By default that of the VGGFace2 weights.
        scaling: ``fixed`` divides (pixel - 127.5) by 128, as the weights are documented; ``half`` by 127.5, as the code
            of Plug & Play Attacks and of AT-AT does.
        crop: fraction of the side that is kept around the centre before resizing; 1 keeps everything.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"papers": {"scaling": "half"}}

    weights: Annotated[str, InputFile()] = PLACE
    weights_sha256: str = SHA256
    scaling: Literal["fixed", "half"] = "fixed"
    crop: Annotated[float, Gt(0), Le(1)] = 1.0

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Embed faces.

        Args:
            x_NCHW: grey or RGB images in [0, 1], any size.

        Returns:
            float32 embeddings (N, 512) of Euclidean length 1, on the device of the images.

        Raises:
            DataError: if the weights are missing, not the expected file, or of another network.
        """
        network, made = _network(*_stamp(self.weights), self.weights_sha256, str(x_NCHW.device)), []
        with torch.no_grad():
            for x_BCHW in x_NCHW.detach().float().split(BATCH):
                made.append(normalize(network(self._faces(x_BCHW)), dim=1))
        return torch.cat([x_NCHW.new_zeros(0, DIMENSIONS, dtype=torch.float32), *made])

    def missing(self) -> list[str]:
        """Return what is wrong with the weights file, and how to get it."""
        try:
            path, *_ = _stamp(self.weights)
            if self.weights_sha256 and (got := sha256_of_file(Path(path))) != self.weights_sha256:
                raise DataError(f"facenet's weights {path} have sha256 {got}, expected {self.weights_sha256}.")
        except DataError as error:
            return [f"{error} {HOW_TO_GET}"]
        return []

    def _faces(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[-2:]
        high, wide = round(height * self.crop), round(width * self.crop)
        top, left = (height - high) // 2, (width - wide) // 2
        faces = to_rgb(resize(x_BCHW[..., top : top + high, left : left + wide], SIDE))
        return (faces - 0.5) / _DIVISOR[self.scaling]


def read_network(path: str, *, sha256: str = "") -> InceptionResnetV1:
    """Return the network with the weights of a file, frozen, on the CPU.

    The layer that told the training's people apart is left out.

    Raises:
        DataError: if the file is missing, has another digest, or holds the weights of another network.
    """
    state = {name: value for name, value in read_state(path, sha256=sha256).items() if not name.startswith(_CLASSIFIER)}
    network = InceptionResnetV1()
    own = network.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    strange = sorted(set(state) - set(own))
    if wrong or strange:
        raise DataError(
            f"{path} holds other weights than Inception-ResNet-v1's: {len(wrong)} tensors are missing or have another"
            f" shape (e.g. {wrong[:2]}), {len(strange)} are unknown (e.g. {strange[:2]}). {HOW_TO_GET}"
        )
    network.load_state_dict(state)
    return freeze(network)


def _stamp(path: str) -> tuple[str, int, int]:
    """Return the path with its home folder, and time and size, by which a file that is replaced is read again."""
    try:
        file = Path(path).expanduser()
        stat = file.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"facenet's weights {path!r} do not exist.") from error
    return str(file), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=2)
def _network(path: str, changed: int, size: int, sha256: str, device: str) -> InceptionResnetV1:
    return read_network(path, sha256=sha256).to(device)
