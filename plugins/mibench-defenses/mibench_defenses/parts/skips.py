"""Scales on the residual connections of known blocks, without another name or shape in the state dict.

Shapes: B images of a batch, C channels, H = W pixels; for ViT (B, T, D) with T tokens and D features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn


class Skip(nn.Module):
    """What passes beside a residual branch: x times a scale, or its first channels. Adds nothing to a state dict.

    Args:
        scale: s in [0, 1].
        channels: ``scaled`` multiplies by s; ``masked`` makes all but the first round(s * C) channels 0; ``cut`` drops
            them.
    """

    def __init__(self, scale: float, *, channels: Literal["scaled", "masked", "cut"] = "scaled") -> None:
        super().__init__()
        self.scale = self.now = scale
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return what passes, of the same shape unless channels are cut; with a scale of 0 nothing of ``x``."""
        keep = round(self.now * x.shape[1])
        if self.channels == "cut":
            return x[:, :keep]
        if self.now in (0, 1):
            return x if self.now else torch.zeros_like(x)
        masked = self.channels == "masked"
        return torch.cat([x[:, :keep], torch.zeros_like(x[:, keep:])], 1) if masked else self.now * x


def _added(block: Any, x: Tensor) -> Tensor:
    branch = block.conv(x) if hasattr(block, "conv") else block.block(x)
    branch = block.layer_scale * branch if hasattr(block, "layer_scale") else branch
    out: Tensor = block.skip(x) + (block.stochastic_depth(branch) if hasattr(block, "stochastic_depth") else branch)
    return out


def _encoder(block: Any, x_BTD: Tensor) -> Tensor:
    y_BTD = block.ln_1(x_BTD)
    y_BTD = block.dropout(block.self_attention(y_BTD, y_BTD, y_BTD, need_weights=False)[0])
    y_BTD = y_BTD + block.skip_attention(x_BTD)
    out_BTD: Tensor = block.mlp(block.ln_2(y_BTD)) + block.skip_mlp(y_BTD)
    return out_BTD


def _dense(block: Any, x_BCHW: Tensor) -> Tensor:
    maps = [x_BCHW]
    for layer in [layer for layer in block.values() if layer is not block.skip]:
        new_BCHW = layer(maps)
        maps[-1:] = [block.skip(maps[-1]), new_BCHW]
    return torch.cat(maps, 1)


RESNETS = {"BasicBlock": "downsample", "Bottleneck": "downsample", "_BasicBlock": "shortcut"}
"""Blocks F(x) + path(x) by the name of their class, with the attribute that holds the path, or nothing for x itself."""

DENSE_BLOCK = "_DenseBlock"
"""Name of the class of torchvision's dense blocks."""

_FORWARDS: dict[str, Any] = {"EncoderBlock": _encoder, DENSE_BLOCK: _dense}
_FORWARDS |= dict.fromkeys(("InvertedResidual", "MBConv", "FusedMBConv", "CNBlock"), _added)


def has_skip(block: nn.Module) -> bool:
    """Tell whether a module is a block with a skip that can be scaled."""
    name = type(block).__name__
    if name in RESNETS:
        return hasattr(block, RESNETS[name])
    # ShuffleNet's blocks of the same name split the channels instead.
    return name in _FORWARDS and bool(getattr(block, "use_res_connect", True)) and not hasattr(block, "branch2")


def install(block: Any, scale: float, mode: str, *, cut: bool = False) -> None:
    """Scale the skip of a block, in place.

    Args:
        block: for which ``has_skip`` holds.
        scale: s in [0, 1].
        mode: for a ViT block, which of its two skips ("all", "attention" or "mlp").
        cut: for a dense block, drop the channels that do not pass, where they become 0 otherwise; its layers must be
            as narrow.
    """
    kind = type(block).__name__
    if kind in RESNETS:
        path = getattr(block, RESNETS[kind])
        if isinstance(path, nn.Sequential):
            path.append(Skip(scale))
        else:
            setattr(block, RESNETS[kind], Skip(scale))
        return
    if kind == "EncoderBlock":
        block.skip_attention = Skip(1.0 if mode == "mlp" else scale)
        block.skip_mlp = Skip(1.0 if mode == "attention" else scale)
    else:
        block.skip = Skip(scale, channels=("cut" if cut else "masked") if kind == DENSE_BLOCK else "scaled")
    plain: Any = type(block)
    block.__class__ = _with_forward(plain, _FORWARDS[kind])


@lru_cache
def _with_forward(base: Any, forward: Any) -> type[nn.Module]:
    return type(f"Weak{base.__name__}", (base,), {"forward": forward})


def skips_of(model: nn.Module) -> dict[str, Skip]:
    """Return the scaled skips of a network by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Skip)}
