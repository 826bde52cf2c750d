"""The field's torchvision architectures under names of their own: ``torchvision`` with a fixed ``arch``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mibench_models.torchvision_models import TorchvisionModel


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
    """MobileNetV2 (Sandler et al., CVPR 2018)."""

    arch: Literal["mobilenet_v2"] = "mobilenet_v2"


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
