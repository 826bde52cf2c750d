"""Galleries for reports: each class's nearest private image beside its best reconstructions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mibench.plan.cells import Cell
from mibench.results.record import Record
from mibench.results.report import Gallery, GalleryRow
from mibench.stages.data import kept_images, private_indices
from mibench.stages.files import load_tensors
from mibench.store.store import Store

CLASSES, IMAGES = 12, 4


def make_gallery(cell: Cell, record: Record, store: Store) -> Gallery:
    """Collect the pictures of one cell: up to 12 classes with up to 4 reconstructions each.

    The private image is the training image that the headline's judge finds nearest to the best reconstruction; if the
    metric names none, the class's first one. Datasets that do not fit into memory have no gallery.
    """
    data = cell.graph.data("private")
    images = kept_images(store.get("data", data.key))
    if images is None:
        return Gallery(cell.label, [])
    train = private_indices(cell.graph.split, images.labels_N.tolist()).train
    gallery, owners = images.pixels_NCHW[train], images.labels_N[train]
    evidence = load_tensors(store.get("reconstruct", cell.evidence.key).file("evidence.safetensors"))
    details = record.metrics[record.protocol.headline].details if record.protocol.headline in record.metrics else {}
    rows = []
    for label in evidence["labels"].unique().tolist()[:CLASSES]:
        own = (evidence["labels"] == label).nonzero().flatten().tolist()[:IMAGES]
        first = int((owners == label).nonzero()[0])
        nearest = details["nearest"][own[0]] if "nearest" in details else first
        ranks = [details["ranks"][i] for i in own] if "ranks" in details else []
        rows.append(
            GalleryRow(
                f"class {label}",
                _array(gallery[nearest]),
                [_array(evidence["pixels"][i]) for i in own],
                captions=[f"rank {rank + 1}" for rank in ranks],
                identified=[rank == 0 for rank in ranks],
            )
        )
    return Gallery(cell.label, rows)


def _array(pixels_CHW: Tensor) -> Any:
    return pixels_CHW.permute(1, 2, 0).numpy()
