"""How many millimetres the face of a reconstruction is away from the face of the person, where faces are known.

Nobody measured the face that a reconstruction shows. It is estimated from the reconstruction's embedding by a linear
regression that was fitted to people who are neither private nor public and whose faces are known.

Shapes: N reconstructions, M distractors, K classes, D embedding size, V values (three for each point of a face), Q
principal components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mibench.api import (
    IdentityGallery,
    ImageSet,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
    generator,
)
from mibench_metrics.embeddings import centroids_of, embed
from mibench_metrics.measurements import average, required
from mibench_metrics.ridge import fit
from mibench_metrics.shapes import Shapes, distances

LEAST = 3
"""Distractors with a known face that a regression takes at the very least."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class FaceShape(Metric):
    """Estimate the face behind each reconstruction and measure how far it is from the person's own.

    ``shape_mm``: mean over reconstructions of the distance of the estimated face to the true one, in millimetres: the
    root of the mean over points of the squared distance of corresponding points. The estimate is a ridge regression
    from embeddings to points, fitted to the distractors' pictures in the gallery, its penalty chosen by leaving one of
    them out at a time. A class for which an attack delivered nothing counts as the distractors' mean face, the best
    guess without evidence.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder", "identities"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the measurement.

        Its details: ``own_error``, the error of the regression on the gallery pictures of distractors that were left
        out of fit and choice, a fifth at a time: less is not to be expected of any image; ``chance``, the error of the
        mean face for the same reconstructions; ``penalty``; ``people``, the number of distractors; and ``points``.

        Raises:
            MibenchError: without an embedder, a gallery or reconstructions; if the faces of private people or
                distractors are not known in millimetres, or not by the same points; or with too few distractors.
        """
        embedder = required(evidence.embedder, "an embedder", "face-shape")
        gallery = required(evidence.identities, "an identity gallery", "face-shape")
        pictures, known, truth_KV = _known(gallery)
        x_MD, shapes = centroids_of(embedder, pictures, ctx), Shapes.of(known)
        regression, labels_N = fit(x_MD, shapes.parts_MQ), evidence.labels_N
        estimated_NV = shapes.faces(regression.predict(embed(embedder, evidence.reconstructions, ctx)))
        blind_K = distances(shapes.mean_V[None], truth_KV)
        details = {
            "own_error": own_error(x_MD, shapes).mean().item(),
            "chance": blind_K[labels_N].mean().item(),
            "penalty": regression.penalty,
            "people": len(known),
            "points": shapes.points,
        }
        return [
            average(
                Quantity(base="shape_mm"),
                distances(estimated_NV, truth_KV[labels_N]),
                labels_N,
                evidence.num_classes,
                higher_is_better=True,
                unit="mm",
                details=details,
                failed={label: blind_K[label].item() for label in evidence.failed},
            )
        ]


def own_error(x_MD: Tensor, shapes: Shapes) -> Tensor:
    """Return the error on each person (M,), who had no part in the fit, nor in the choice of its penalty."""
    error_M = torch.zeros(len(x_MD), dtype=torch.float64)
    fold_M = folds(len(x_MD))
    for fold in fold_M.unique():
        out_M = fold_M == fold
        made_NQ = fit(x_MD[~out_M], shapes.parts_MQ[~out_M]).predict(x_MD[out_M])
        error_M[out_M] = distances(shapes.faces(made_NQ), shapes.faces(shapes.parts_MQ[out_M]))
    return error_M


def folds(number: int) -> Tensor:
    """Deal people to the folds at random, the same in every run (M,); their order may follow what they look like."""
    return torch.randperm(number, generator=generator("face-shape", "folds")) % FOLDS


def _known(gallery: IdentityGallery) -> tuple[ImageSet, Tensor, Tensor]:
    """Return the distractors' pictures and faces (M, V), and the private people's faces (K, V), float64."""
    pictures, known, truth = gallery.distractors, gallery.distractor_truth, gallery.truth
    if truth is None:
        raise MibenchError("face-shape needs the true faces of the private people; this dataset does not know them")
    if pictures is None or known is None or pictures.num_classes < LEAST:
        raise MibenchError(
            f"face-shape needs {LEAST} distractors or more whose true faces are known, to learn from; "
            "set gallery.distractors in the protocol"
        )
    if {truth.unit, known.unit} != {"mm"}:
        raise MibenchError(f"face-shape needs true faces in mm, got {truth.unit} and {known.unit}")
    if truth.values_KD.shape[1] != known.values_KD.shape[1]:
        raise MibenchError(
            "face-shape needs the same points of all faces, got "
            f"{truth.values_KD.shape[1] // 3} of private people and {known.values_KD.shape[1] // 3} of distractors"
        )
    return pictures, known.values_KD.double(), truth.values_KD.double()
