"""What ``mibench data croissant`` describes: a dataset, from its plugin and from the copy that was prepared here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mibench.api import params
from mibench.api.copies import copy_file, read_copy
from mibench.api.errors import DataError
from mibench.exchange.dataset_croissant import DatasetFile, DescribedDataset
from mibench.registry.licences import licence_address
from mibench.registry.papers import paper_of
from mibench.registry.registered import Registered

if TYPE_CHECKING:
    from mibench.api.data import Dataset


def described(entry: Registered, dataset: Dataset) -> tuple[DescribedDataset, list[str]]:
    """Return a dataset as others are to see it, and what its description lacks because files are not here.

    Args:
        entry: its plugin's entry.
        dataset: the component.
    """
    missing, files = list(dataset.missing()), _files(entry.name, dataset)
    try:
        people = range(dataset.num_identities())
        images: Sequence[int | None] = [dataset.num_images(one) for one in people]
    except DataError as error:
        images, missing = (), missing or [str(error)]
    made = DescribedDataset(
        name=entry.name,
        version=entry.spec.version,
        summary=entry.spec.summary,
        licence=licence_address(entry),
        paper=paper_of(entry) or "",
        source=f"read by {entry.distribution} {entry.distribution_version}, the plugin of mibench that brings it",
        params=_plain(dataset),
        images=images,
        files=files,
    )
    return made, missing


def _files(name: str, dataset: Dataset) -> list[DatasetFile]:
    own = dataset.files()
    if not own and copy_file(name).is_file():
        copied = read_copy(copy_file(name)).classes.values()  # without names: they are of a folder of this machine
        return [DatasetFile(label, image.sha256, part=image.part) for label, of in enumerate(copied) for image in of]
    return [
        DatasetFile(label, image.sha256, image.name, image.part)
        for label, images in enumerate(own.values())
        for image in images
    ]


def _plain(dataset: Dataset) -> dict[str, object]:
    """Return its settings without those that name files or folders of this machine."""
    named = {*params.file_parameters(type(dataset)), *params.copy_parameters(type(dataset))}
    return {name: value for name, value in params.canonical(dataset).items() if name not in named}
