"""Galleries for reports: each class's nearest private image beside its best reconstructions. Imports no torch.

Shapes: N images, C channels, H = W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from mibench.nodes.data import DataFiles, StoredImages
from mibench.nodes.reconstruct import ReconstructFiles
from mibench.plan.cells import Cell
from mibench.protocol.split import private_indices
from mibench.report import Gallery, GalleryRow
from mibench.results.record import Record
from mibench.store.store import Store

CLASSES, IMAGES = 12, 4


def make_gallery(cell: Cell, record: Record, store: Store) -> Gallery:
    """Collect the pictures of one cell: up to 12 classes with up to 4 reconstructions each.

    The private image is the training image that the headline's judge finds nearest to the best reconstruction; if the
    metric names none, the class's first one.
    """
    data = cell.graph.data("private")
    files = DataFiles(store.get(data.stage, data.key).path)
    images = files.read_images(load_file)
    if images.labels is None:
        return Gallery(cell.label, [])
    parts = None if images.parts is None else images.parts.tolist()
    train = private_indices(cell.graph.split, images.labels.tolist(), parts).train
    owners_N = images.labels[train]
    node = cell.reconstructions
    evidence = ReconstructFiles(store.get(node.stage, node.key).path).read_evidence(load_file)
    details = record.metrics[record.protocol.headline].details if record.protocol.headline in record.metrics else {}
    rows = []
    for label in np.unique(evidence.labels).tolist()[:CLASSES]:
        own = np.flatnonzero(evidence.labels == label).tolist()[:IMAGES]
        first = int(np.flatnonzero(owners_N == label)[0])
        nearest = details["nearest"][own[0]] if "nearest" in details else first
        ranks = [details["ranks"][i] for i in own] if "ranks" in details else []
        rows.append(
            GalleryRow(
                f"class {label}",
                _picture(files, images, train[nearest]).transpose(1, 2, 0),
                [evidence.pixels[i].transpose(1, 2, 0) for i in own],
                captions=[f"rank {rank + 1}" for rank in ranks],
                identified=[rank == 0 for rank in ranks],
            )
        )
    return Gallery(cell.label, rows)


def _picture(files: DataFiles, images: StoredImages[NDArray[Any]], index: int) -> NDArray[np.uint8]:
    """Return one image (C, H, W); pixels that are too many for memory are not read for it."""
    if images.pixels is not None:
        found: NDArray[np.uint8] = images.pixels[index]
        return found
    with safe_open(files.pixels, framework="np") as opened:
        one: NDArray[np.uint8] = opened.get_slice("pixels")[index : index + 1][0]
    return one
