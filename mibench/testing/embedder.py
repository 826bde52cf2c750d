"""The contract of embedders.

Shapes: N images, C channels, H = W pixels, D dimensions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mibench.api.classifier import Embedder
from mibench.api.rng import seeded
from mibench.testing.checks import largest_difference, require
from mibench.testing.component import ComponentContract
from mibench.testing.tiny_stages import TESTED, tiny_stages


class EmbedderContract(ComponentContract):
    """Subclass, set ``component`` (an ``Embedder``), and run with pytest.

    Checks are skipped while the embedder says that something is ``missing``.

    Attributes:
        tolerance: how far an embedding may move with the batch that it is computed in.
    """

    tolerance: ClassVar[float] = 1e-4

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Embed images with an embedder of its own."""
        self.require_files()
        embedder: Embedder = self.make()
        return embedder.embed(x_NCHW)

    def test_missing_says_what(self) -> None:
        """``missing`` lists lines of text."""
        lines = self.make().missing()
        right = isinstance(lines, list) and all(isinstance(line, str) and line.strip() for line in lines)
        require(right, f"missing() returned {lines!r}, expected a list of lines")

    def test_embeddings_are_unit_vectors(self) -> None:
        """Images become finite float32 embeddings (N, D) of length 1, without a graph that outlives the call."""
        x_NCHW = self.world.images().all_images()
        made_ND = self.embed(x_NCHW)
        right = made_ND.ndim == 2 and len(made_ND) == len(x_NCHW) and made_ND.dtype == torch.float32
        require(right, f"embeddings {made_ND.dtype} {tuple(made_ND.shape)}, expected float32 ({len(x_NCHW)}, D)")
        require(bool(made_ND.isfinite().all()), "embeddings are not finite")
        apart = largest_difference(made_ND.norm(dim=1), torch.ones(len(made_ND)))
        require(apart < 1e-4, f"lengths differ from 1 by up to {apart:.2g}; embeddings are L2-normalised")
        require(largest_difference(made_ND, made_ND[:1].expand_as(made_ND)) > 1e-3, "all images have one embedding")

    def test_an_image_does_not_see_its_batch(self) -> None:
        """An image has the same embedding alone, among others, and in another order."""
        x_NCHW = self.world.batch()[0]
        together, alone, turned = self.embed(x_NCHW), self.embed(x_NCHW[:1]), self.embed(x_NCHW.flip(0))
        for name, other, own in (("alone", alone, together[:1]), ("in another order", turned.flip(0), together)):
            apart = largest_difference(other, own)
            require(apart <= self.tolerance, f"an image {name} has an embedding that differs by {apart:.2g}")

    def test_same_images_same_embeddings(self) -> None:
        """Two embedders, under other global seeds, agree to the bit."""
        x_NCHW = self.world.batch()[0]
        with seeded("contract", "global", 1):
            first = self.embed(x_NCHW)
        with seeded("contract", "global", 2):
            again = self.embed(x_NCHW)
        require(torch.equal(first, again), "embeddings of the same images differ from call to call")

    def test_grey_images_are_embedded(self) -> None:
        """Grey images have the embeddings of their copies in three equal channels."""
        grey_N1HW = self.world.batch()[0][:, :1]
        apart = largest_difference(self.embed(grey_N1HW), self.embed(grey_N1HW.expand(-1, 3, -1, -1)))
        require(apart <= self.tolerance, f"grey images and their copies in colour differ by {apart:.2g}")

    def test_measure_stage(self) -> None:
        """A metric that asks for it gets the same numbers whatever the global seed."""
        self.require_files()
        with tiny_stages(self.world, {("model", TESTED): self.component}, embedder=self.entry()) as stages:
            (node,) = stages.cell.measures.values()
            stages.same_bytes(node, stop=None)
