"""Classifiers, priors and face embedders for mibench. Imported to list plugins, so nothing heavy here."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import ImporterSpec, ModelSpec, PriorSpec, hookimpl


@hookimpl
def mibench_models() -> Iterable[ModelSpec]:
    """Return the classifier architectures and the embedder of this distribution."""
    return [*_small(), *_torchvision(), _sface()]


@hookimpl
def mibench_priors() -> Iterable[PriorSpec]:
    """Return the image priors of this distribution."""
    rows = [
        ("dcgan", "dcgan.component:DcganPrior", "dcgan",
         "GMI's generator: DCGAN trained as a Wasserstein GAN with gradient penalty"),
        ("ked-gan", "ked_gan.component:KedGanPrior", "ked_gan",
         "KED-MI's generator: DCGAN trained on public images that the target labels, one per target"),
        ("pca", "pca:PcaPrior", "eigenfaces",
         "principal components of public images: linear, instant, without truncation artefacts"),
        ("plg-cgan", "plg_cgan.component:PlgCgan", "plg_mi",
         "PLG-MI's generator: conditional GAN on public images that the target labels, one per target"),
        ("diffusion", "diffusion.component:Diffusion", "diff_mi",
         "Diff-MI's denoiser: conditional diffusion on public images that the target labels, one per target"),
        ("stylegan2", "stylegan2.component:StyleGan2Prior", "stylegan2",
         "small StyleGAN2 with mapping network, style blocks and discriminator"),
        ("stylegan2-file", "stylegan2_file.component:StyleGan2File", "stylegan2",
         "StyleGAN2 that somebody else trained, such as NVIDIA's on FFHQ; see mibench data import-stylegan"),
    ]  # fmt: skip
    return [
        PriorSpec(name=name, factory=f"mibench_models.priors.{factory}", summary=summary, paper=f"bib/{paper}.bib")
        for name, factory, paper, summary in rows
    ]


@hookimpl
def mibench_importers() -> Iterable[ImporterSpec]:
    """Return the readers of foreign files of this distribution."""
    yield ImporterSpec(
        name="stylegan",
        factory="mibench_models.priors.stylegan2_file.importer:StyleGanImporter",
        summary="read FILE, a pickle of stylegan2-ada-pytorch, as data; write safetensors for the prior stylegan2-file",
        paper="bib/stylegan2.bib",
    )


@hookimpl
def mibench_artifacts() -> Iterable[str]:
    """Return the folder with ready-made artifacts (trained priors) of this distribution."""
    return ["mibench_models:shipped"]


def _small() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="smallcnn",
            factory="mibench_models.small_cnn:SmallCnn",
            summary="four conv-BN-ReLU-pool blocks and a linear feature layer; made for CPUs",
        ),
        ModelSpec(
            name="small-resnet",
            factory="mibench_models.small_resnet:SmallResNet",
            summary="residual network for small images without max-pooling; a second family for evaluators",
            paper="bib/resnet.bib",
        ),
    ]


def _torchvision() -> list[ModelSpec]:
    rows = [
        (
            "torchvision",
            "torchvision_models:TorchvisionModel",
            "any torchvision classification network: set arch",
            None,
        ),
        ("resnet18", "torchvision_zoo:ResNet18", "ResNet-18", "resnet"),
        ("resnet34", "torchvision_zoo:ResNet34", "ResNet-34", "resnet"),
        ("resnet50", "torchvision_zoo:ResNet50", "ResNet-50", "resnet"),
        ("resnet101", "torchvision_zoo:ResNet101", "ResNet-101", "resnet"),
        ("resnet152", "torchvision_zoo:ResNet152", "ResNet-152", "resnet"),
        ("resnext50", "torchvision_zoo:ResNeXt50", "ResNeXt-50 32x4d", "resnext"),
        ("wide-resnet50", "torchvision_zoo:WideResNet50", "Wide ResNet-50-2", "wide_resnet"),
        ("densenet121", "torchvision_zoo:DenseNet121", "DenseNet-121", "densenet"),
        ("densenet169", "torchvision_zoo:DenseNet169", "DenseNet-169", "densenet"),
        ("inception-v3", "torchvision_zoo:InceptionV3", "Inception-v3 with its auxiliary head", "inception_v3"),
        ("mobilenet-v2", "torchvision_zoo:MobileNetV2", "MobileNetV2", "mobilenet_v2"),
        ("efficientnet-b0", "torchvision_zoo:EfficientNetB0", "EfficientNet-B0", "efficientnet"),
        ("vgg16-bn", "torchvision_zoo:Vgg16Bn", "VGG-16 with batch normalisation", "vgg"),
        ("vit-b-16", "torchvision_zoo:VitB16", "Vision Transformer B/16", "vit"),
        ("swin-t", "torchvision_zoo:SwinT", "Swin Transformer, tiny", "swin"),
        ("convnext-tiny", "torchvision_zoo:ConvNeXtTiny", "ConvNeXt, tiny", "convnext"),
    ]
    return [
        ModelSpec(name=name, factory=f"mibench_models.{factory}", summary=summary, paper=paper and f"bib/{paper}.bib")
        for name, factory, summary, paper in rows
    ]


def _sface() -> ModelSpec:
    return ModelSpec(
        name="sface",
        factory="mibench_models.sface:SFace",
        role="embedder",
        summary="SFace face embeddings (128-d), trained on web faces only: the independent judge of identity",
        paper="bib/sface.bib",
        licence="MIT AND Apache-2.0",
    )
