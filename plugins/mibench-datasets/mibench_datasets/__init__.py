"""Datasets and protocols for mibench."""

from __future__ import annotations

from collections.abc import Iterator

from mibench.api import DatasetSpec, ProtocolSpec, hookimpl

_ORL_PAPER = """@inproceedings{samaria1994parameterisation,
  title     = {Parameterisation of a Stochastic Model for Human Face Identification},
  author    = {Samaria, Ferdinando S. and Harter, Andy C.},
  booktitle = {Proceedings of the Second IEEE Workshop on Applications of Computer Vision},
  pages     = {138--142},
  year      = {1994},
  doi       = {10.1109/ACV.1994.341300}
}"""


@hookimpl
def mibench_datasets() -> Iterator[DatasetSpec]:
    """Return the datasets of this distribution."""
    yield DatasetSpec(
        name="orl",
        factory="mibench_datasets.orl:Orl",
        summary="AT&T / ORL photographs: 40 people x 10, grey (credit: AT&T Laboratories Cambridge)",
        paper=_ORL_PAPER,
        licence="LicenseRef-ATT-ORL",
    )
    yield DatasetSpec(
        name="rendered-faces",
        factory="mibench_datasets.rendered_faces.dataset:RenderedFaces",
        summary="Faces rendered from a CC0 head model: any number of identities with exact ground truth",
        licence="CC0-1.0",
    )


@hookimpl
def mibench_protocols() -> Iterator[ProtocolSpec]:
    """Return the frozen protocols of this distribution."""
    for name, summary in (
        ("smoke", "every stage in seconds, for tests; its numbers mean nothing"),
        ("orl64", "real photographs of 20 people at 64 pixels, grey"),
        ("rendered64", "rendered faces of 24 people at 64 pixels, colour"),
    ):
        yield ProtocolSpec(
            name=name,
            version="1.0",
            factory="mibench.protocol.schema:Protocol",
            file=f"mibench_datasets:protocols/{name}.yaml",
            summary=summary,
            trial=name == "smoke",
        )
