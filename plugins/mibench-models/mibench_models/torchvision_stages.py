"""Which intermediate activations of a torchvision network are its named stages.

A stage is the output of a module that closes a resolution or width, after its non-linearity, and that no later
in-place operation overwrites. Families follow the choices of BiDO (Peng et al., KDD 2022) where those exist.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

STAGE_TABLE: dict[str, tuple[str, ...]] = {
    "resnet": ("layer1", "layer2", "layer3", "layer4"),
    "resnext": ("layer1", "layer2", "layer3", "layer4"),
    "wide_resnet": ("layer1", "layer2", "layer3", "layer4"),
    "densenet": tuple(f"features.denseblock{index}" for index in (1, 2, 3, 4)),
    "inception_v3": ("Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "googlenet": ("inception3b", "inception4e", "inception5b"),
    "convnext": tuple(f"features.{index}" for index in (1, 3, 5, 7)),
    "swin": tuple(f"features.{index}" for index in (1, 3, 5, 7)),
    "mobilenet_v2": tuple(f"features.{index}" for index in (1, 3, 6, 10, 13, 16, 17)),
    "regnet": tuple(f"trunk_output.block{index}" for index in (1, 2, 3, 4)),
}
"""Stages by the beginning of the architecture's name."""


def stage_names(arch: str, body: nn.Module, head: str) -> list[str]:
    """Return the paths of the modules whose outputs are the stages, from input to output.

    VGG and AlexNet: every max-pooling. Vision Transformers: the last encoder layer of each quarter (token tensors).
    Families of ``STAGE_TABLE`` as listed. Any other network: up to four equally spaced blocks, the last one included,
    among the children of the network that have parameters and do not hold the head; if there is only one such child
    (``features``), among its children.

    Args:
        arch: torchvision's name of the architecture.
        body: the network.
        head: path of its last linear layer.
    """
    for prefix, names in STAGE_TABLE.items():
        if arch.startswith(prefix):
            return list(names)
    for prefix, rule in _RULES.items():
        if arch.startswith(prefix):
            return rule(body)
    return _children(body, head)


def _max_pools(body: nn.Module) -> list[str]:
    return [path for path, module in body.named_modules() if isinstance(module, nn.MaxPool2d)]


def _encoder_quarters(body: nn.Module) -> list[str]:
    layers = [path for path, _ in body.get_submodule("encoder.layers").named_children()]
    return [f"encoder.layers.{name}" for name in _equally_spaced(layers)]


def _children(body: nn.Module, head: str) -> list[str]:
    names = [
        path
        for name, child in body.named_children()
        if name != head.split(".")[0]
        for path in ([f"{name}.{index}" for index in range(len(child))] if isinstance(child, nn.ModuleList) else [name])
    ]
    names = [name for name in names if _has_parameters(body.get_submodule(name))]
    if len(names) == 1:
        trunk = body.get_submodule(names[0])
        names = [f"{names[0]}.{name}" for name, child in trunk.named_children() if _has_parameters(child)]
    blocks = [name for name in names if any(True for _ in body.get_submodule(name).children())]
    return _equally_spaced(blocks or names)


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _equally_spaced(names: list[str], count: int = 4) -> list[str]:
    count = min(count, len(names))
    return [names[len(names) * index // count - 1] for index in range(1, count + 1)]


_RULES: dict[str, Callable[[nn.Module], list[str]]] = {
    "vgg": _max_pools,
    "alexnet": _max_pools,
    "vit_": _encoder_quarters,
}
