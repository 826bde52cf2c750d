"""The arithmetic of a frozen synthesis network: float32, TF32 or bfloat16 convolutions.

Styles, demodulation factors and the image are float32 in all of them. TF32 is switched on for single operations,
forwards and backwards, because torch's switch is global and the target's arithmetic is not the prior's to change.

Shapes: B images, I inputs, O outputs, K kernel side, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

Compute = Literal["fp32", "tf32", "bf16"]


def convolve(x_BIHW: Tensor, w: Tensor, compute: Compute, *, stride: int, padding: int, transposed: bool) -> Tensor:
    """Convolve, or convolve transposed, in the given arithmetic.

    Args:
        x_BIHW: features.
        w: (O, I, K, K), or (I, O, K, K) if ``transposed``.
        compute: "bf16" returns bfloat16, the others the type of ``x``.
        stride: step between outputs (between inputs, if ``transposed``).
        padding: zeros around the image.
        transposed: whether to convolve transposed.
    """
    if compute == "tf32":
        result: Tensor = _Tf32.apply(x_BIHW, w, stride, padding, transposed)
        return result
    if compute == "bf16":
        x_BIHW, w = x_BIHW.bfloat16(), w.bfloat16()
    return torch.convolution(x_BIHW, w, None, *_options(stride, padding, transposed))


@contextmanager
def tensor_cores() -> Iterator[None]:
    """Switch TF32 on for a block, and restore what was set before."""
    conv, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = conv, matmul


def _options(stride: int, padding: int, transposed: bool) -> tuple[Any, ...]:
    """Return stride, padding, dilation, transposed, output padding and groups."""
    return [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], 1


class _Tf32(torch.autograd.Function):
    """A convolution that computes itself and its gradients in TF32, whatever is set elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, stride: int, padding: int, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.options = _options(stride, padding, transposed)
        with tensor_cores():
            return torch.convolution(x, w, None, *ctx.options)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:2], False]
        with tensor_cores():
            to_x, to_w, _ = torch.ops.aten.convolution_backward(grad, x, w, None, *ctx.options, wanted)
        return to_x, to_w, None, None, None
