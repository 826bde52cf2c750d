"""How far a reconstruction narrows down who the person is, by an independent judge and among many people.

A hit rate among a few people wastes what ranks say: whether the own person is the second or the last of a thousand.

Shapes: N reconstructions, P people of the gallery, D embedding size, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from mibench.api import (
    IdentityGallery,
    Measurement,
    Metric,
    MetricContext,
    MetricInputs,
    MibenchError,
    Need,
    Quantity,
    Subject,
)
from mibench_metrics.embeddings import centroids_of, embed
from mibench_metrics.measurements import average, required
from mibench_metrics.places import (
    Places,
    areas_of_places,
    bits_of_places,
    hits_of_places,
    places,
    reciprocals_of_places,
)

TOP = (1, 5)


@dataclass(frozen=True, kw_only=True)
class IdentityBits(Metric):
    """Rank all people of a gallery, private ones and distractors, by their cosine to each reconstruction.

    Each person is the centroid of its pictures in the gallery. With P people and the own person at place r, averaged
    over reconstructions:

    ``id_bits``: log2 P - log2 r, in bits, from 0 to log2 P. B bits narrow P people down to about P / 2**B. A blind
    guess has log2 P - mean log2 r = 1.44 bits for many people, not 0. ``id_mrr``: 1 / r. ``id_auc``: 1 - (r - 1) / (P -
    1), the chance that the own person is more similar than another; .5 is blind. ``id_reid@1`` and ``id_reid@5``: share
    of reconstructions whose own person is first, or among the first five. ``id_cosine``: cosine to the own person.

    People who are equally similar share the mean of what their places are worth, as if ties were broken at random: a
    judge that sees no difference between people finds exactly what a blind guess does. An embedding that is not a
    number puts the own person last. A class for which an attack delivered nothing tells nothing: it counts as a blind
    guess (as the mean cosine of other people to the own person in ``id_cosine``), and as no hit.
    """

    subject: ClassVar[Subject] = "reconstructions"
    needs: ClassVar[frozenset[Need]] = frozenset({"embedder", "identities"})

    def measure(self, evidence: MetricInputs, ctx: MetricContext) -> list[Measurement]:
        """Return the six measurements.

        Details of ``id_bits``: ``among``, the number of people P; ``private`` and ``distractors``, of whom it is made;
        ``chance``, the bits of a blind guess; ``own_ranks``, the place of the own person for each reconstruction, from
        1 on; where people are tied the middle one, and ``own_tied``, how many others share each. Of ``id_mrr``:
        ``chance``. Of ``id_reid@1``: ``ranks``, the same places from 0 on, unless people are tied.

        Raises:
            MibenchError: without an embedder, a gallery or reconstructions; if the gallery is of other classes; or if
                there is nobody else in it.
        """
        embedder = required(evidence.embedder, "an embedder", "identity-bits")
        gallery = required(evidence.identities, "an identity gallery", "identity-bits")
        _check(gallery, evidence.num_classes)
        sets = [gallery.private, *([gallery.distractors] if gallery.distractors else [])]
        people_PD = torch.cat([centroids_of(embedder, images, ctx) for images in sets])
        similarity_NP = embed(embedder, evidence.reconstructions, ctx) @ people_PD.T
        return _measurements(similarity_NP, people_PD, evidence)


def _measurements(similarity_NP: Tensor, people_PD: Tensor, evidence: MetricInputs) -> list[Measurement]:
    labels_N, failed, count = evidence.labels_N, evidence.failed, len(people_PD)
    found, own_N = places(similarity_NP, labels_N), similarity_NP.gather(1, labels_N.view(-1, 1)).squeeze(1)
    mean = partial(average, labels_N=labels_N, num_classes=evidence.num_classes, higher_is_better=False)

    def worth(base: str, worth_P: Tensor, **told: Any) -> Measurement:
        blind = dict.fromkeys(failed, worth_P.mean().item())
        return mean(Quantity(base=base), found.expected(worth_P), failed=blind, **told)

    bits_P, reciprocal_P = bits_of_places(count), reciprocals_of_places(count)
    return [
        worth("id_bits", bits_P, unit="bits", details=_details(found, bits_P, evidence)),
        worth("id_mrr", reciprocal_P, details={"chance": reciprocal_P.mean().item()}),
        worth("id_auc", areas_of_places(count)),
        *(
            mean(
                Quantity(role="re_identification", base="id_reid", k=top),
                found.expected(hits_of_places(count, top)),
                failed=failed,
                details=_ranks(found) if top == 1 else {},
            )
            for top in TOP
        ),
        mean(Quantity(base="id_cosine"), own_N, unit="cosine", failed=_others(people_PD, failed)),
    ]


def _details(found: Places, bits_P: Tensor, evidence: MetricInputs) -> dict[str, Any]:
    return {
        "among": len(bits_P),
        "private": evidence.num_classes,
        "distractors": len(bits_P) - evidence.num_classes,
        "chance": bits_P.mean().item(),
        "own_ranks": [int(rank) if rank == int(rank) else rank for rank in found.ranks().tolist()],
        **({"own_tied": found.tied_N.tolist()} if found.tied_N.any() else {}),
    }


def _ranks(found: Places) -> dict[str, Any]:
    """Return places as boards compare them with shares of hits: whole numbers from 0 on."""
    return {} if found.tied_N.any() else {"ranks": found.before_N.tolist()}


def _others(people_PD: Tensor, labels: Sequence[int]) -> Mapping[int, float]:
    """Return the mean cosine of all other people to each of some people: what a picture of just anybody has."""
    sums_P = people_PD @ people_PD.sum(0)
    return {label: (sums_P[label].item() - 1) / (len(people_PD) - 1) for label in labels}


def _check(gallery: IdentityGallery, num_classes: int) -> None:
    if gallery.private.num_classes != num_classes:
        raise MibenchError(
            f"identity-bits needs a picture of each of the {num_classes} private people in the gallery, which has "
            f"{gallery.private.num_classes} of them"
        )
    if gallery.people < 2:
        raise MibenchError("identity-bits: there is nobody else in the gallery; it takes two people or more")
