"""Sums over fixed lists of rows, and reading single entries, with fast derivatives.

torch's own derivative of reading rows adds them up one by one; here it is a sum over the transposed lists.

Shapes: R rows read, N rows written, K columns, C channels, M entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding_bag


class Sums(nn.Module):
    """The linear map ``y[n] = sum of x[r] over the r listed for n``.

    Args:
        lists: the pairs (n, r) as two arrays, in any order; pairs that occur twice count twice.
        rows: R.
        written: N.
    """

    rows: Tensor
    starts: Tensor
    rows_back: Tensor
    starts_back: Tensor

    def __init__(self, lists: tuple[NDArray[np.int64], NDArray[np.int64]], *, rows: int, written: int) -> None:
        super().__init__()
        to_N, from_R = lists
        for suffix, (key, value, count) in {"": (to_N, from_R, written), "_back": (from_R, to_N, rows)}.items():
            order = np.argsort(key, kind="stable")
            ends = np.cumsum(np.bincount(key, minlength=count))
            starts = np.concatenate([[0], ends[:-1]])
            self.register_buffer(f"rows{suffix}", torch.as_tensor(value[order].astype(np.int32)), persistent=False)
            self.register_buffer(f"starts{suffix}", torch.as_tensor(starts.astype(np.int32)), persistent=False)

    def forward(self, x_RK: Tensor) -> Tensor:
        """Return the sums: (N, K)."""
        y_NK: Tensor = _Sum.apply(x_RK, self.rows, self.starts, self.rows_back, self.starts_back)
        return y_NK


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_RK: Tensor, *lists: Tensor) -> Tensor:
        rows, starts, *back = lists
        ctx.save_for_backward(*back, rows, starts)
        return embedding_bag(rows, x_RK.contiguous(), starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Sum.apply(grads[0], *ctx.saved_tensors), None, None, None, None


def pick(table_CN: Tensor, index_M: Tensor) -> Tensor:
    """Return the entries at ``index_M`` of every channel: (C, M)."""
    picked_CM: Tensor = _Pick.apply(table_CN, index_M)
    return picked_CM


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_CN: Tensor, index_M: Tensor) -> Tensor:
        ctx.save_for_backward(index_M)
        ctx.entries = table_CN.shape[1]
        return table_CN.index_select(1, index_M)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (index_M,) = ctx.saved_tensors
        channels = len(grads[0])
        offset_C1 = torch.arange(channels, device=index_M.device)[:, None] * ctx.entries
        summed = grads[0].new_zeros(channels * ctx.entries)
        summed.scatter_add_(0, (offset_C1 + index_M).reshape(-1), grads[0].reshape(-1))
        return summed.view(channels, ctx.entries), None
