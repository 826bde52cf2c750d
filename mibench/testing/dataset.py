"""The contract of datasets.

Shapes: N images, C channels, H = W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from unittest import SkipTest

import torch

from mibench.api.data import Dataset, ImageSet, TensorImages
from mibench.api.errors import MibenchError
from mibench.api.images import check_images
from mibench.api.rng import seeded
from mibench.stages.data import load_images
from mibench.testing.checks import require
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_stages import TESTED, tiny_stages


class DatasetContract(ComponentContract):
    """Subclass, set ``component`` (and ``settings`` that point it at small files), and run with pytest.

    Checks that read images are skipped while the dataset says that something is ``missing``.

    Attributes:
        identities: at least two identities to read, in an order that is not ascending.
        size: side of the images in pixels.
        channels: the channel counts that the dataset can deliver.
    """

    identities: ClassVar[Sequence[int]] = (2, 0, 1)
    size: ClassVar[int] = 16
    channels: ClassVar[Sequence[int]] = (3, 1)

    def load(self, identities: Sequence[int] | None = None, *, channels: int | None = None) -> ImageSet:
        """Read identities, or skip the check if the files are not there."""
        dataset: Dataset = self.make()
        self.require_files()
        chosen = self.identities if identities is None else identities
        with seeded("dataset", TESTED):  # as the stage does it
            return dataset.load(chosen, size=self.size, channels=channels or self.channels[0])

    def test_counts_identities(self) -> None:
        """The identities under test exist."""
        self.load(self.identities[:1])
        count = self.make().num_identities()
        require(max(self.identities) < count, f"num_identities is {count}, the test reads {list(self.identities)}")

    def test_delivers_images(self) -> None:
        """Images are float32 (N, C, size, size) in [0, 1], for every channel count."""
        for channels in self.channels:
            images_NCHW = self.load(channels=channels).all_images()
            _check(images_NCHW)
            expected = (channels, self.size, self.size)
            require(tuple(images_NCHW.shape[1:]) == expected, f"images {tuple(images_NCHW.shape[1:])}, not {expected}")
            require(bool(images_NCHW.amax() > images_NCHW.amin()), "all pixels are equal")

    def test_labels_follow_the_request(self) -> None:
        """The k-th identity asked for is class k; images are ordered by class and no class is empty."""
        data, count = self.load(), len(self.identities)
        require(data.num_classes == count, f"num_classes is {data.num_classes}, {count} identities were asked for")
        require(data.labels_N.dtype == torch.int64, f"labels are {data.labels_N.dtype}, expected int64")
        require(bool((data.labels_N.diff() >= 0).all()), "images are not ordered by class")
        present = sorted(set(data.labels_N.tolist()))
        require(present == list(range(count)), f"classes with images: {present}, expected 0 .. {count - 1}")

    def test_identities_do_not_depend_on_each_other(self) -> None:
        """An identity has the same images, in the same order, alone and among others."""
        together = self.load()
        for label, identity in enumerate(self.identities):
            among = together.images((together.labels_N == label).nonzero().flatten())
            alone = self.load([identity]).all_images()
            require(torch.equal(among, alone), f"identity {identity} alone differs from it among {self.identities}")

    def test_reading_is_deterministic(self) -> None:
        """Two reads give equal images, whatever the global seed."""
        with seeded("contract", "global", 1):
            first = self.load()
        with seeded("contract", "global", 2):
            again = self.load()
        require(torch.equal(first.all_images(), again.all_images()), "two reads of the same identities differ")

    def test_batches_and_subsets_agree(self) -> None:
        """Reading by index, in a subset and under other labels gives the same images."""
        data = self.load()
        indices = torch.arange(len(data) - 1, -1, -2)
        wanted, subset = data.all_images()[indices], data.subset(indices)
        require(torch.equal(data.images(indices), wanted), "images(indices) differs from all_images()[indices]")
        require(torch.equal(subset.all_images(), wanted), "subset(indices) holds other images")
        require(torch.equal(subset.labels_N, data.labels_N[indices]), "subset(indices) holds other labels")
        require(subset.num_classes == data.num_classes, "a subset changes the number of classes")
        other = data.relabel(data.labels_N.flip(0))
        require(torch.equal(other.labels_N, data.labels_N.flip(0)), "relabel(labels) does not hold the new labels")
        require(torch.equal(other.images(indices), wanted), "relabel(labels) changes the images")

    def portraits(self, identities: Sequence[int], *, channels: int, take: int = 0) -> TensorImages:
        """Read portraits of identities, or skip the check if the files are not there."""
        dataset: Dataset = self.make()
        self.require_files()
        with seeded("dataset", TESTED):
            return dataset.portraits(identities, size=self.size, channels=channels, take=take)

    def test_portraits_are_one_picture_of_each(self) -> None:
        """A dataset with portraits has two of each identity, which differ, in the order that is asked for.

        A portrait does not depend on who else is asked for.
        """
        self.require_files()
        if type(self.make()).portraits is Dataset.portraits:
            return
        count = len(self.identities)
        for channels in self.channels:
            first, second = (self.portraits(self.identities, channels=channels, take=take) for take in (0, 1))
            for found in (first, second):
                _check(found.all_images())
                shape = (count, channels, self.size, self.size)
                require(tuple(found.pixels_NCHW.shape) == shape, f"portraits {tuple(found.pixels_NCHW.shape)}")
                require(found.labels_N.tolist() == list(range(count)), "portraits are not one of each class, in order")
                require(found.num_classes == count, f"num_classes is {found.num_classes}, not {count}")
            for label, identity in enumerate(self.identities):
                one, two = (found.pixels_NCHW[label] for found in (first, second))
                require(not torch.equal(one, two), f"both portraits of identity {identity} are the same picture")
                alone = self.portraits([identity], channels=channels).pixels_NCHW[0]
                require(torch.equal(alone, one), f"the portrait of identity {identity} alone is another one")

    def test_truth_is_of_each_alone(self) -> None:
        """What is known of an identity does not depend on who else is asked for; ``None`` holds for all or for none."""
        dataset: Dataset = self.make()
        self.require_files()
        together = dataset.truth(self.identities)
        for label, identity in enumerate(self.identities):
            alone = dataset.truth([identity])
            require((alone is None) == (together is None), f"the truth of identity {identity} alone is {alone}")
            if alone is not None and together is not None:
                require(len(together.values_KD) == len(self.identities), "the truth is of another number of identities")
                same = torch.equal(alone.values_KD[0], together.values_KD[label])
                require(same, f"the truth of identity {identity} alone is another one")

    def test_memory_promise_is_kept(self) -> None:
        """``in_memory`` datasets return ``TensorImages``, which the store keeps ready-made."""
        data = self.load(self.identities[:1])
        kept = isinstance(data, TensorImages) or not self.make().in_memory
        require(kept, f"in_memory is true, but load returned {type(data).__name__}")

    def test_data_stage(self) -> None:
        """The stage ``data`` keeps, or reads again, the images that the dataset delivers; the same every time."""
        self.require_files()
        if self.make().num_identities() < 3:
            raise SkipTest("a split into private and public people takes three identities or more")
        split = {"seed": 0, "private": 2, "public": 1, "train": 1, "val": 0, "test": 1}
        parts = {"dataset": self.entry(), "image": {"size": self.size, "channels": self.channels[0]}, "split": split}
        with tiny_stages(self.world, {("dataset", TESTED): self.component}, **parts) as stages:
            artifact = stages.same_bytes(stages.cell.graph.data("private"), stop=None)
            kept = load_images(artifact)
            asked = self.load(list(stages.cell.graph.fixed.identities.private))
        require(torch.equal(kept.all_images(), asked.all_images()), "the stage delivers other images than load")
        require(torch.equal(kept.labels_N, asked.labels_N), "the stage delivers other labels than load")


def _check(images_NCHW: torch.Tensor) -> None:
    try:
        check_images(images_NCHW, where="the dataset")
    except MibenchError as error:
        raise AssertionError(str(error)) from None
