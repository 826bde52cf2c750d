"""The prior contract: what an attacker believes images look like.

Shapes: B latents of a batch, Z size of the noise, L style layers, W size of a style vector, C channels, H = W pixels.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from mibench.api.data import ImageSet
from mibench.api.deprecated import module_getattr, with_old_names
from mibench.api.images import resize
from mibench.api.target import TargetView


class BlockState(NamedTuple):
    """The state between two blocks of a generator, so that an attack can enter in the middle.

    Attributes:
        features: activations (B, channels, h, w) that enter the next block.
        image: the image accumulated so far (B, C, h, w), for generators with skip outputs; ``None`` before the first.
    """

    features: Tensor | None
    image: Tensor | None


@with_old_names
class Prior(nn.Module, ABC):
    """A trained generator. Latents are (B, L, W): one style vector per layer; simple generators have L = 1.

    Attributes:
        latent_layers: L.
        latent_size: W.
        noise_size: Z.
        blocks: number of blocks that can be entered by ``render(start=...)``; 1 for generators without a middle.
        crop: fraction of the side that shows the object (0.78125 for FFHQ faces in PPA); 1 keeps everything.
        classes: number of classes that the generator is conditioned on; 0 for one that knows none.
    """

    latent_layers: int
    latent_size: int
    noise_size: int
    blocks: int = 1
    crop: float = 1.0
    classes: int = 0

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw noise (n, Z) from the generator's input distribution, on the CPU and then moved to its device."""
        noise = torch.randn(n, self.noise_size, generator=rng)
        return noise.to(self.device)

    @abstractmethod
    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Map noise to latents (B, L, W), differentiably.

        Args:
            z_BZ: noise.
            truncation: pull towards the mean latent; 1 is none, 0 is the mean.
            cutoff: number of first layers that are truncated; ``None`` truncates all.
        """

    @abstractmethod
    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Render images (B, C, H, W), nominally in [0, 1] but **not clamped**, so that gradients live outside.

        Args:
            latent_BLW: latents.
            start: first block to run.
            carry: what enters that block; ``None`` for ``start=0``.
        """

    def condition(self, latent_BLW: Tensor, labels_B: Tensor) -> Tensor:
        """Return the latents with a class written into them; unchanged for generators that know no classes.

        What ``to_latent`` returns is not conditioned: a generator with ``classes > 0`` renders an average of them.
        """
        return latent_BLW

    def step_block(self, index: int, latent_BLW: Tensor, carry: BlockState | None) -> BlockState:
        """Run one block and return what enters the next. Only for priors with more than one block."""
        raise NotImplementedError(f"{type(self).__name__} has no intermediate blocks")

    @property
    def discriminator(self) -> nn.Module | None:
        """A network that maps images in [0, 1] to realism logits (B,), if the prior was trained with one."""
        return None

    @property
    def tunable(self) -> Sequence[nn.Parameter]:
        """Weights that an attack may adapt in a clone of its own: those between latents and images."""
        return list(self.parameters())

    def clone(self) -> Self:
        """Return an independent copy, so that tuning it leaves this prior alone."""
        return copy.deepcopy(self)

    def crop_and_resize(self, x_BCHW: Tensor, size: int) -> Tensor:
        """Crop rendered images to the object and resize them to the protocol's side."""
        side = x_BCHW.shape[-1]
        keep = round(side * self.crop)
        low = (side - keep) // 2
        return resize(x_BCHW[..., low : low + keep, low : low + keep], size)

    @property
    def device(self) -> torch.device:
        """Where the prior lives."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


def build_prior(component: PriorModel | GuidedPriorModel, *, channels: int, size: int, classes: int) -> Prior:
    """Build an untrained prior of either kind; under ``torch.device("meta")`` it has its structure and no memory.

    Args:
        component: of the prior.
        channels: of its images.
        size: side of its images in pixels.
        classes: of the target, for priors that it guides.
    """
    if isinstance(component, GuidedPriorModel):
        return component.build(channels=channels, size=size, classes=classes)
    return component.build(channels=channels, size=size)


class PriorTrainer(ABC):
    """Trains a prior step by step; the core's loop calls it, reports progress, saves and restores its state."""

    total_steps: int

    @abstractmethod
    def step(self, index: int) -> dict[str, float]:
        """Do step ``index`` (randomness derived from the index) and return signals to log."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return everything that a resumed training needs, as a flat dictionary of tensors."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""

    @abstractmethod
    def finish(self) -> Prior:
        """Return the trained prior, frozen."""


class PriorModel(ABC):
    """A prior component: a frozen dataclass of parameters that builds and trains generators.

    Attributes:
        presets: named parameter sets; one called like a protocol is that protocol's default.
        needs_target: false; see :class:`GuidedPriorModel`.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    needs_target: ClassVar[bool] = False

    def missing(self) -> list[str]:
        """Return what has to be there before it can be built and is not, with the commands that get it."""
        return []

    @abstractmethod
    def build(self, *, channels: int, size: int) -> Prior:
        """Make an untrained prior for images of this shape. Called with torch's global generator seeded."""

    @abstractmethod
    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        """Return the training of ``prior`` on public images.

        Args:
            prior: what ``build`` made.
            images: public images of the protocol; labels are those of the public identities.
            seed: derive all randomness from it with ``mibench.api.generator(seed, purpose, step)``.
            device: where to train.
        """

    def deploy(self, prior: Prior) -> Prior:
        """Make a trained prior ready for attacks: it is frozen and on its device; by default nothing changes.

        Faster arithmetic belongs here, behind a check that images stay the same.
        """
        return prior


class GuidedPriorModel(ABC):
    """A prior component whose training asks the target, so that every target gets a generator of its own.

    Attributes:
        presets: as of :class:`PriorModel`.
        needs_target: true.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    needs_target: ClassVar[bool] = True

    @abstractmethod
    def build(self, *, channels: int, size: int, classes: int) -> Prior:
        """Make an untrained prior for images of this shape and a target with this many classes."""

    @abstractmethod
    def trainer(
        self, prior: Prior, images: ImageSet, target: TargetView, *, seed: int, device: torch.device
    ) -> PriorTrainer:
        """Return the training of ``prior``; arguments as of :class:`PriorModel`.

        Args:
            prior: what ``build`` made.
            images: public images of the protocol; labels are those of the public identities.
            target: white-box view of the target, frozen; it counts what the training spends.
            seed: derive all randomness from it with ``mibench.api.generator(seed, purpose, step)``.
            device: where to train.
        """

    def deploy(self, prior: Prior) -> Prior:
        """Make a trained prior ready for attacks: it is frozen and on its device; by default nothing changes.

        Faster arithmetic belongs here, behind a check that images stay the same.
        """
        return prior


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
