"""Metrics of generated images, between reconstructions and the photographs that trained the target.

They tell how much alike two sets of images are, not who is recognised: an attack may do well here and find nobody.

Shapes: N reconstructions, G training images, D dimensions of the embedder, F of Inception, K classes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import (
    ImageSet,
    InputFile,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
    UsageError,
)
from mibench_metrics.embeddings import embed
from mibench_metrics.inception import HOW_TO_GET as INCEPTION_FROM
from mibench_metrics.inception import frechet_distance, kernel_distance, load_network
from mibench_metrics.inference import batches
from mibench_metrics.look_alike import look_alike
from mibench_metrics.lpips import Backbone, load_distance
from mibench_metrics.lpips import how_to_get as lpips_from
from mibench_metrics.measurements import required
from mibench_metrics.neighbourhoods import NAMES, neighbourhoods
from mibench_metrics.photographs import of_attacked

LIBRARIES = ("torchmetrics", "torch_fidelity")
INSTALL = 'pip install "mibench-metrics[quality]"'


@dataclass(frozen=True, kw_only=True)
class SampleQuality(Metric):
    """Compare the set of reconstructions with the training images of the attacked people.

    ``prdc_precision``, ``prdc_recall``, ``prdc_density``, ``prdc_coverage``: Naeem's four in the embedder's space, for
    each class, then the mean over classes with enough images; ``inception_precision`` and so on: in Inception's.
    ``kid`` and ``fid``: distances of the distributions of all images in Inception's features; FID only from
    ``least_for_fid`` images of either kind on, for with few it mostly measures their number. ``lpips``: mean perceptual
    distance of a reconstruction to the training image of its class whose embedding is nearest, at the judges' side.

    What takes weights that are not named is absent, never 0. The defender wants little precision, recall, density and
    coverage, and large distances. A class for which an attack delivered nothing has 0 of the four, and in ``lpips``
    counts as photographs of the others.

    Attributes:
        neighbours: images that make up a neighbourhood, k; papers take 3.
        inception: weights of the network of FID, as torch-fidelity and pytorch-fid publish them.
        inception_sha256: digest that the file must have; empty checks nothing.
        backbone: weights of LPIPS's network, in torchvision's naming.
        backbone_sha256: digest that the file must have; empty checks nothing.
        lpips_network: which network that is.
        least_for_fid: images of either kind from which on FID is reported.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder"})

    neighbours: Annotated[int, Ge(1)] = 3
    inception: Annotated[str, InputFile("none")] = "none"
    inception_sha256: str = ""
    backbone: Annotated[str, InputFile("none")] = "none"
    backbone_sha256: str = ""
    lpips_network: Backbone = "vgg"
    least_for_fid: Annotated[int, Ge(2)] = 2000

    def __post_init__(self) -> None:
        wanted = {self.inception, self.backbone} - {"none", ""}
        if wanted and (lacking := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]):
            raise UsageError(f"sample-quality needs {' and '.join(lacking)} for FID, KID and LPIPS. Run: {INSTALL}")

    def missing(self) -> list[str]:
        """Return how to get the weights that are named and not there."""
        wanted = ((self.inception, INCEPTION_FROM), (self.backbone, lpips_from(self.lpips_network)))
        named = [(file, how) for file, how in wanted if file not in ("none", "")]
        return [f"{file} does not exist. {how}" for file, how in named if not Path(file).expanduser().is_file()]

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return what can be measured.

        Details of every column: ``real``, the number of training images. Of ``kid``: ``fid``, why that is absent.

        Raises:
            MibenchError: without an embedder or reconstructions; if an attacked class has no training image; or if no
                class has more than ``neighbours`` images of either kind.
            DataError: if a weights file is not the expected one.
        """
        embedder = required(evidence.embedder, "an embedder", "sample-quality")
        real = of_attacked(evidence.gallery, evidence, "sample-quality")
        made_ND, real_GD = embed(embedder, evidence.reconstructions, ctx), embed(embedder, real, ctx)
        rows = self._four("prdc", real_GD, made_ND, real, evidence)
        if not rows:
            raise MibenchError(f"sample-quality needs a class with more than {self.neighbours} images of either kind")
        if self.inception not in ("none", ""):
            network = load_network(self.inception, sha256=self.inception_sha256)
            real_GF, made_NF = _features(network, real, ctx), _features(network, evidence.reconstructions, ctx)
            rows += self._four("inception", real_GF, made_NF, real, evidence)
            rows += self._distances(real_GF, made_NF, evidence.num_classes)
        if self.backbone not in ("none", ""):
            distance = load_distance(self.lpips_network, self.backbone, sha256=self.backbone_sha256)
            rows.append(look_alike(distance, made_ND, real_GD, real, evidence, ctx))
        return rows

    def _four(
        self, space: str, real_GD: Tensor, made_ND: Tensor, real: ImageSet, evidence: MetricInputs
    ) -> list[Measurement]:
        """Return the four numbers that at least one class has, as means over classes."""
        by_class: list[Mapping[str, float | None]] = [dict.fromkeys(NAMES)] * evidence.num_classes
        for label in sorted({*evidence.labels_N.tolist(), *evidence.failed}):
            own_MD = made_ND[evidence.labels_N == label]
            by_class[label] = (
                neighbourhoods(real_GD[real.labels_N == label], own_MD, self.neighbours)
                if len(own_MD)
                else dict.fromkeys(NAMES, 0.0)
            )
        rows = []
        for name in NAMES:
            per_class = [found[name] for found in by_class]
            measured = [
                value for label, value in enumerate(per_class) if value is not None and label not in evidence.failed
            ]
            if measured:
                present = [value for value in per_class if value is not None]
                told: dict[str, Any] = {"per_class": per_class, "n": len(made_ND), "details": {"real": len(real)}}
                rows.append(
                    _row(f"{space}_{name}", fmean(present), "ratio" if name == "density" else "fraction", **told)
                )
        return rows

    def _distances(self, real_GD: Tensor, made_ND: Tensor, classes: int) -> list[Measurement]:
        n, fewest = len(made_ND), min(len(real_GD), len(made_ND))
        told: dict[str, Any] = {"per_class": [None] * classes, "n": n, "better": True}
        details: dict[str, Any] = {"real": len(real_GD)}
        rows = []
        if fewest >= self.least_for_fid:
            rows.append(_row("fid", frechet_distance(real_GD, made_ND), "squared distance", details=details, **told))
        else:
            details = details | {"fid": f"absent: {fewest} images of one kind, and it takes {self.least_for_fid}"}
        if fewest >= 2:
            rows.append(_row("kid", kernel_distance(real_GD, made_ND), "squared distance", details=details, **told))
        return rows


def _row(base: str, value: float, unit: str, *, better: bool = False, **told: Any) -> Measurement:
    return Measurement(**Quantity(base=base).stated(), value=value, unit=unit, higher_is_better=better, **told)


def _features(network: Callable[[Tensor], Tensor], images: ImageSet | Tensor, ctx: MetricContext) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(x_BCHW.to(ctx.device)).double().cpu() for x_BCHW in batches(images, ctx)])
