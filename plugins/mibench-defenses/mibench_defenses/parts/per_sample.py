"""Gradients of single images, and what forbids them.

Shapes: B images of a batch, b images of a part of it, C channels, H = W pixels.

The gradients are taken by ``torch.func`` for the whole network: nothing is hooked into it, and networks with in-place
operations and bare parameters (residual networks, transformers) work, which opacus's hooks refuse.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import StochasticDepth

from mibench.api import Classifier, UsageError, loss_of, seeded


def per_sample_gradients(model: Classifier, x_BCHW: Tensor, y_B: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of each image's own loss, auxiliary heads included.

    Args:
        model: in training mode.
        x_BCHW: images.
        y_B: labels.

    Returns:
        For each trainable parameter its gradients (B, ...), and the losses (B,).
    """
    one = _LossOfOne(model)
    trainable = {name: p.detach() for name, p in one.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], x_CHW: Tensor, y: Tensor) -> Tensor:
        result: Tensor = functional_call(one, parameters, (x_CHW, y))
        return result

    each = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no batched form
        gradients, loss_B = each(trainable, x_BCHW, y_B)
    return {name.removeprefix("model."): gradient for name, gradient in gradients.items()}, loss_B


def clipped_gradients(
    model: Classifier, x_BCHW: Tensor, y_B: Tensor, max_norm: float, part: int
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Sum the gradients of a batch's images, each cut to a length.

    Args:
        model: in training mode.
        x_BCHW: images; there may be none.
        y_B: labels.
        max_norm: longest gradient of an image, over all parameters together.
        part: images whose gradients are in memory at a time.

    Returns:
        For each trainable parameter the sum; the losses (B,); the lengths before cutting (B,).
    """
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    losses, lengths = [x_BCHW.new_zeros(0)], [x_BCHW.new_zeros(0)]
    for start in range(0, len(x_BCHW), part):
        gradients, loss_b = per_sample_gradients(model, x_BCHW[start : start + part], y_B[start : start + part])
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients.values()]
        length_b = torch.stack(squares).sum(0).sqrt()
        for name, gradient in gradients.items():
            sums[name] += torch.tensordot((max_norm / length_b).clamp(max=1), gradient, dims=1)
        losses.append(loss_b)
        lengths.append(length_b)
    return {name: total.detach() for name, total in sums.items()}, torch.cat(losses), torch.cat(lengths)


def group_norms(model: Classifier, groups: int, device: torch.device) -> None:
    """Put a fresh GroupNorm in the place of every BatchNorm; weights and statistics are lost.

    Args:
        model: the network, changed in place.
        groups: each layer takes the greatest common divisor of this and its channels.
        device: where the network lives.
    """
    for name, norm in list(model.named_modules()):
        if isinstance(norm, _BatchNorm):
            fresh = nn.GroupNorm(math.gcd(groups, norm.num_features), norm.num_features, affine=norm.affine)
            model.set_submodule(name, fresh.to(device))


def refuse_unsupported(model: Classifier) -> None:
    """Refuse the layers that opacus's validator refuses, and stochastic depth, whose draws cannot differ by image here.

    Multi-head attention passes: opacus refuses it because its hooks cannot look inside, and there are none here.

    Raises:
        UsageError: naming the first such layer.
    """
    from opacus.validators import ModuleValidator  # type: ignore[import-untyped] # seconds, and only needed here

    for name, module in model.named_modules():
        if isinstance(module, StochasticDepth) and module.p > 0:
            raise UsageError(f"dp-sgd: {name} drops layers at random (stochastic depth). Use another network.")
        if hasattr(module, "extra") or hasattr(module, "summaries"):
            raise UsageError(f"dp-sgd: {name} keeps numbers of each pass, which single gradients cannot. Leave it out.")
        check = ModuleValidator.VALIDATORS.get(type(module))
        trainable = any(p.requires_grad for p in module.parameters(recurse=False))
        if check is None or not trainable or isinstance(module, nn.MultiheadAttention):
            continue
        for error in check(module):
            raise UsageError(f"dp-sgd: the layer {name} cannot be trained privately. Use another network. {error}")


def refuse_mixing(model: Classifier, shape_BCHW: torch.Size, device: torch.device) -> None:
    """Refuse a network in which an image changes the logits of another, or a buffer.

    Args:
        model: in training mode.
        shape_BCHW: of the images to try it on, at least two.
        device: where the network lives.

    Raises:
        UsageError: if the network mixes images, so that no gradient belongs to one image alone.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad(), seeded("dp-sgd", "mixing"):
        x_BCHW = torch.rand(shape_BCHW).to(device, next(model.parameters()).dtype)
        other_BCHW = torch.cat([x_BCHW[:1], 1 - x_BCHW[1:]])
        with seeded("dp-sgd", "dropout"):
            first_K = model(x_BCHW)[0]
        with seeded("dp-sgd", "dropout"):
            again_K = model(other_BCHW)[0]
    if any(not torch.equal(buffer, before[name]) for name, buffer in model.named_buffers()):
        raise UsageError("dp-sgd: the network keeps statistics of its images, which no noise protects. Use another.")
    if not torch.allclose(first_K, again_K, rtol=1e-3, atol=1e-4):
        raise UsageError("dp-sgd: in this network the images of a batch influence each other. Use another.")


class _LossOfOne(nn.Module):
    """The loss of a single image (C, H, W) and its label (): what ``torch.func`` differentiates."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_CHW: Tensor, y: Tensor) -> Tensor:
        return loss_of(self.model.outputs(x_CHW[None]), y[None])
