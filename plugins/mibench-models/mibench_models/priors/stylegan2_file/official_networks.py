"""From NVIDIA's stored networks to the networks of ``stylegan2/``: same numbers, same names.

Everything is read off the stored layers (shapes, clamps, activations), not off default arguments, which differ between
NVIDIA's repositories. What these networks do not implement is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from mibench.api import DataError, seeded
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.mapping import LR_MULTIPLIER
from mibench_models.priors.stylegan2.resample import binomial_filter
from mibench_models.priors.stylegan2.synthesis import resolutions
from mibench_models.priors.stylegan2_file.official_pickle import NetworkRecord

LARGEST_GROUP = 32
"""Images per group of the minibatch statistic that are taken at their word."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What one network is made of: arguments of ``Generator`` and ``Discriminator``.

    Attributes:
        img_resolution: side in pixels.
        img_channels: channels of the image.
        channel_base: features at side r are channel_base / r; 32768 is config-f, 16384 half of its width.
        channel_max: upper bound of the features.
        conv_clamp: bound on activations; ``None`` for none.
    """

    img_resolution: int
    img_channels: int
    channel_base: int
    channel_max: int
    conv_clamp: float | None


def convert_generator(record: NetworkRecord) -> tuple[Generator, dict[str, Any]]:
    """Make a generator of a stored one.

    Returns:
        The generator with its weights, and the arguments that it was made with.

    Raises:
        DataError: naming what is not implemented here, or not as it should be.
    """
    mapping, synthesis = record.children.get("mapping"), record.children.get("synthesis")
    if mapping is None or synthesis is None or "b4" not in synthesis.children:
        raise DataError(f"G_ema is a {record.class_name!r} without StyleGAN2's blocks; only StyleGAN2 can be imported")
    _refuse(_number(record, "c_dim") != 0, "G_ema is conditional (c_dim > 0)")
    layers = [child for _, child in mapping.walk() if child is not mapping]
    _refuse(any(_differs(layer, "bias_gain", LR_MULTIPLIER) for layer in layers), "the mapping's lr_multiplier")
    _refuse(any(_differs(layer, "activation", "lrelu") for layer in layers), "the mapping's activation")
    _check_blocks(synthesis, architecture="skip")
    arguments = {
        **asdict(_design(record, synthesis, "conv1.weight", "conv1.weight")),
        "z_dim": _number(record, "z_dim"),
        "w_dim": _number(record, "w_dim"),
        "mapping_layers": len(layers),
    }
    return _load(Generator, arguments, record, "G_ema"), arguments


def convert_discriminator(record: NetworkRecord) -> tuple[Discriminator, dict[str, Any], int | None]:
    """Make a discriminator of a stored one.

    Returns:
        The discriminator, the arguments that it was made with, and the images per group of its minibatch statistic;
        ``None`` if that is the whole batch.

    Raises:
        DataError: as :func:`convert_generator`.
    """
    epilogue = record.children.get("b4")
    if epilogue is None:
        raise DataError(f"D is a {record.class_name!r} without StyleGAN2's blocks; only StyleGAN2 can be imported")
    _refuse(_number(record, "c_dim") != 0, "D is conditional (c_dim > 0)")
    _check_blocks(record, architecture="resnet")
    statistic = epilogue.children.get("mbstd")
    _refuse(statistic is None or _differs(statistic, "num_channels", 1), "D's minibatch statistic")
    group = statistic.attributes.get("group_size") if statistic else None
    group = group if isinstance(group, int) and 0 < group <= LARGEST_GROUP else None
    arguments = asdict(_design(record, record, "conv0.weight", "conv.weight"))
    return _load(Discriminator, arguments, record, "D"), arguments, group


def _check_blocks(record: NetworkRecord, *, architecture: str) -> None:
    fir = binomial_filter()
    for path, layer in record.walk():
        _refuse(_differs(layer, "architecture", architecture), f"architecture {layer.attributes.get('architecture')!r}")
        _refuse(_differs(layer, "use_noise", True), f"{path} without noise")
        for name, tensor in layer.tensors.items():
            other = name == "resample_filter" and (tensor.shape != fir.shape or not torch.allclose(tensor.float(), fir))
            _refuse(other, f"{path} with another filter than [1, 3, 3, 1]")
        _refuse(_differs(layer, "bias_gain", 1), f"the lr_multiplier of {path}")
        plain = path.endswith(("affine", "skip", "out"))  # in both networks the layers without an activation
        _refuse(_differs(layer, "activation", "linear" if plain else "lrelu"), f"the activation of {path}")


def _design(owner: NetworkRecord, blocks: NetworkRecord, weight: str, first: str) -> Design:
    """Read widths off the weights of the blocks: ``first`` is the weight of block b4, ``weight`` of the others."""
    side = _number(owner, "img_resolution")
    try:
        sides = resolutions(side)
    except ValueError as error:
        raise DataError(f"{owner.class_name}: {error}") from error
    state = blocks.state_dict()
    try:
        widths = {r: len(state[f"b{r}.{first if r == 4 else weight}"]) for r in sides}
    except (KeyError, TypeError) as error:
        raise DataError(f"{owner.class_name} has no weights for one of the sides {sides}") from error
    highest = max(widths.values())
    base = max((r * width for r, width in widths.items() if width < highest), default=highest * side)
    regular = all(width == min(base // r, highest) for r, width in widths.items())
    _refuse(not regular, f"{owner.class_name} with the channels {widths}")
    channels = _number(owner, "img_channels")
    _refuse(channels not in {1, 3}, f"{owner.class_name} with {channels} image channels")
    layers = [layer for path, layer in blocks.walk() if not path.endswith("skip")]
    clamps = [layer.attributes["conv_clamp"] for layer in layers if "conv_clamp" in layer.attributes] or [None]
    _refuse(any(clamp != clamps[0] for clamp in clamps), f"{owner.class_name} with several clamps")
    _refuse(not (clamps[0] is None or isinstance(clamps[0], int | float)), f"the clamp {clamps[0]!r}")
    return Design(
        img_resolution=side,
        img_channels=channels,
        channel_base=base,
        channel_max=highest,
        conv_clamp=None if clamps[0] is None else float(clamps[0]),
    )


def _load(network: type[Any], arguments: Mapping[str, Any], record: NetworkRecord, name: str) -> Any:
    state = {key: value for key, value in record.state_dict().items() if not key.endswith("resample_filter")}
    for key, value in state.items():
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise DataError(f"{name}: {key} holds numbers that are not finite; the file is damaged, fetch it again")
    with seeded("placeholder"):
        made: nn.Module = network(**arguments)
    try:
        made.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1:2]).strip()
        raise DataError(f"{name} is not laid out as StyleGAN2: {first}") from error
    return made.eval().requires_grad_(False)


def _number(record: NetworkRecord, name: str) -> int:
    value = record.attributes.get(name, record.init_kwargs.get(name))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**16:
        raise DataError(f"{record.class_name} states {name} = {value!r}; expected a number")
    return value


def _differs(record: NetworkRecord, name: str, wanted: object) -> bool:
    return name in record.attributes and record.attributes[name] != wanted


def _refuse(condition: bool, what: str) -> None:
    if condition:
        raise DataError(f"this file cannot be imported: {what} is not implemented here")
