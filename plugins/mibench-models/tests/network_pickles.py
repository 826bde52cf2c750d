"""A writer of network pickles in NVIDIA's format, from networks of ours: no line of NVIDIA's code is involved."""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.resample import binomial_filter

from mibench.api import seeded

SHAPE = {"img_resolution": 16, "img_channels": 3, "channel_base": 128, "channel_max": 16, "conv_clamp": 256.0}
INNER = {"z_dim": 8, "w_dim": 12, "mapping_layers": 2}


def random_networks(seed: int = 0, **shape: Any) -> tuple[Generator, Discriminator]:
    """Make networks whose noise, biases and mean latent matter, as those of trained ones do."""
    with seeded("official", seed), torch.no_grad():
        nets = Generator(**INNER, **{**SHAPE, **shape}), Discriminator(**{**SHAPE, **shape})
        for net in nets:
            for name, parameter in net.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    parameter.add_(torch.randn(parameter.shape) * 0.3)
        nets[0].mapping.w_avg.copy_(torch.randn(INNER["w_dim"]))
    return nets


@contextmanager
def official_modules() -> Iterator[types.ModuleType]:
    """Pretend for a while that the modules which such pickles name are installed."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("reading must not call this")

    class EasyDict(dict):
        pass

    for module, item in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        item.__module__, item.__qualname__ = module.__name__, item.__name__
        setattr(module, item.__name__, item)
    made = {"torch_utils": types.ModuleType("torch_utils"), "dnnlib": types.ModuleType("dnnlib")}
    made |= {module.__name__: module for module in (persistence, util)}
    assert not set(made) & set(sys.modules)
    sys.modules.update(made)
    persistence.EasyDict = EasyDict  # type: ignore[attr-defined]
    try:
        yield persistence
    finally:
        for name in made:
            del sys.modules[name]


class Stored:
    """An object that pickles itself as a persistent class does."""

    def __init__(self, persistence: types.ModuleType, class_name: str, state: dict[str, Any]) -> None:
        self.persistence, self.class_name, self.state = persistence, class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        source = "raise SystemExit('the source text of a pickle was run')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name, "state": self.state}
        return self.persistence._reconstruct_persistent_obj, (meta,), None


def _attributes(path: str, kind: str, side: int) -> dict[str, Any]:
    """Return what the layer at a path says about itself; ``kind`` is G or D."""
    last = path.rpartition(".")[2]
    if last.startswith("fc") and kind == "G":
        return {"activation": "lrelu", "bias_gain": 0.01, "weight_gain": np.float64(0.01 / math.sqrt(8))}
    if last in {"fc", "out", "affine"}:
        return {"activation": "lrelu" if last == "fc" else "linear", "bias_gain": 1}
    if last == "torgb":
        return {"conv_clamp": 256}
    if last.startswith("conv") or last in {"fromrgb", "skip"}:
        clamp = None if last == "skip" else 256
        noise = {"use_noise": True} if kind == "G" else {}
        return {"activation": "linear" if last == "skip" else "lrelu", "conv_clamp": clamp, **noise}
    if last == "mbstd":
        return {"group_size": 4, "num_channels": 1}
    if last.startswith("b"):
        return {"architecture": "skip" if kind == "G" else "resnet", "use_fp16": side >= 8}
    return {}


def stored(persistence: types.ModuleType, net: torch.nn.Module, kind: str, edit: Callable[..., None]) -> Stored:
    """Return a network as nested stored objects; ``edit(path, state)`` may change any of them."""

    def convert(module: torch.nn.Module, path: str) -> Stored:
        side = int("".join(filter(str.isdigit, path.rpartition(".")[2])) or 0)
        tensors = OrderedDict(
            (name, value.detach().clone()) for name, value in module._parameters.items() if value is not None
        )
        buffers = OrderedDict((name, value) for name, value in module._buffers.items() if name != "fir")
        if "fir" in module._buffers:
            buffers["resample_filter"] = binomial_filter()
        children = OrderedDict(
            (name, convert(child, f"{path}.{name}".lstrip("."))) for name, child in module._modules.items() if child
        )
        if kind == "D" and path == "b4":
            children["mbstd"] = Stored(persistence, "MinibatchStdLayer", {"group_size": 4, "num_channels": 1})
        state = {
            "training": False,
            "_parameters": OrderedDict((name, torch.nn.Parameter(value)) for name, value in tensors.items()),
            "_buffers": buffers,
            "_modules": children,
            "_non_persistent_buffers_set": set(),
            "_init_kwargs": persistence.EasyDict(synthesis_kwargs=persistence.EasyDict(num_fp16_res=4)),
            **_attributes(path, kind, side),
        }
        if not path:
            state |= {"c_dim": 0, **{name: SHAPE[name] for name in ("img_resolution", "img_channels")}}
            state |= {"z_dim": 8, "w_dim": 12} if kind == "G" else {}
            state["img_channels"] = (
                net.synthesis.b4.torgb.bias.numel() if kind == "G" else net.b16.fromrgb.weight.shape[1]
            )
        edit(path, state)
        return Stored(persistence, type(module).__name__, state)

    return convert(net, "")


def write_network_pickle(
    path: Path,
    net: Generator,
    judge: Discriminator | None,
    *,
    protocol: int = 3,
    edit_g: Callable[..., None] = lambda path, state: None,
    edit_d: Callable[..., None] = lambda path, state: None,
) -> Path:
    """Write a pickle and return its path."""
    with official_modules() as persistence:
        other, _ = random_networks(99, img_channels=net.synthesis.b4.torgb.bias.numel())
        content = {
            "training_set_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "xflip": True},
            "G": stored(persistence, other, "G", lambda path, state: None),
            "D": None if judge is None else stored(persistence, judge, "D", edit_d),
            "G_ema": stored(persistence, net, "G", edit_g),
            "augment_pipe": Stored(persistence, "AugmentPipe", {"_buffers": {"p": torch.ones([])}, "xflip": 1.0}),
        }
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert "torch_utils" not in sys.modules
    return path
