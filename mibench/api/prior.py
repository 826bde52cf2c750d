"""The prior contract: what an attacker believes images look like.

Shapes: B latents of a batch, Z size of the noise, L style layers, W size of a style vector, V size of a view, C
channels, H = W pixels.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from mibench.api.data import ImageSet
from mibench.api.deprecated import GONE_IN, module_getattr, with_old_names
from mibench.api.errors import UsageError
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
        view_size: V, how many numbers say how a picture was taken; 0 for generators that do not tell that from what is
            in it.
    """

    latent_layers: int
    latent_size: int
    noise_size: int
    blocks: int = 1
    crop: float = 1.0
    classes: int = 0
    view_size: int = 0

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

    def render_views(self, latent_BLW: Tensor, view_BV: Tensor) -> Tensor:
        """Render what latents stand for in other views: pose, light and background, say.

        Under standard normal views its images differ as photographs do, where :meth:`render` shows all in one view. A
        generator that does not tell views from what is in the picture renders as ever; one that does marks this method
        with ``renders``, so that its images are counted.

        Args:
            latent_BLW: latents.
            view_BV: views (B, V).
        """
        return self.render(latent_BLW)

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

    Most learn from public images alone. One whose training asks the target says ``needs_target``; then every target
    gets a generator of its own, ``build`` is told ``classes`` and ``trainer`` is handed ``target``. Components that do
    not need a target never get these two and may leave them out of their signatures.

    Attributes:
        presets: named parameter sets; one called like a protocol is that protocol's default.
        needs_target: whether training asks the target.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    needs_target: ClassVar[bool] = False

    def missing(self) -> list[str]:
        """Return what has to be there before it can be built and is not, with the commands that get it."""
        return []

    @abstractmethod
    def build(self, *, channels: int, size: int, classes: int = 0) -> Prior:
        """Make an untrained prior for images of this shape. Called with torch's global generator seeded.

        Args:
            channels: of its images.
            size: side of its images in pixels.
            classes: of the target, for components that need one; else 0.
        """

    @abstractmethod
    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the training of ``prior`` on public images.

        Args:
            prior: what ``build`` made.
            images: public images of the protocol; labels are those of the public identities.
            seed: derive all randomness from it with ``mibench.api.generator(seed, purpose, step)``.
            device: where to train.
            target: white-box view of the target, frozen, which counts what the training spends; ``None`` unless the
                component needs it (see :func:`given`).
        """

    def deploy(self, prior: Prior) -> Prior:
        """Make a trained prior ready for attacks: it is frozen and on its device; by default nothing changes.

        Faster arithmetic belongs here, behind a check that images stay the same.
        """
        return prior


class GuidedPriorModel(PriorModel):
    """Deprecated: derive from :class:`PriorModel`, set ``needs_target = True``, and take ``target`` by name."""

    needs_target: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Warn the author of a component, when it is imported."""
        super().__init_subclass__(**options)
        warnings.warn(
            f"{cls.__name__} derives from GuidedPriorModel, which stops working in mibench {GONE_IN}; derive from"
            " PriorModel, set needs_target = True, and take the target as the keyword argument `target` of trainer().",
            DeprecationWarning,
            stacklevel=2,
        )


def given(target: TargetView | None) -> TargetView:
    """Return the target of a training that cannot do without.

    Raises:
        UsageError: if there is none.
    """
    if target is None:
        raise UsageError("this prior is trained on a target; pass trainer(..., target=TargetView(...))")
    return target


def build_prior(component: PriorModel, *, channels: int, size: int, classes: int = 0) -> Prior:
    """Build an untrained prior; under ``torch.device("meta")`` it has its structure and no memory.

    Args:
        component: of the prior.
        channels: of its images.
        size: side of its images in pixels.
        classes: of the target; kept from components that do not need one.
    """
    return component.build(channels=channels, size=size, **_for_target(component, classes=classes))


def prior_trainer(
    component: PriorModel, prior: Prior, images: ImageSet, *, seed: int, device: torch.device,
    target: TargetView | None,
) -> PriorTrainer:  # fmt: skip
    """Return the training of a prior; see :meth:`PriorModel.trainer`.

    Args:
        component: of the prior.
        prior: what :func:`build_prior` made.
        images: public images.
        seed: of all its draws.
        device: where to train.
        target: kept from components that do not need one.
    """
    asked = _for_target(component, target=target)
    return component.trainer(prior, images, seed=seed, device=device, **asked)


def _for_target(component: PriorModel, **arguments: Any) -> dict[str, Any]:
    return arguments if component.needs_target else {}


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
