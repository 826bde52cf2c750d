"""Datasets and protocols for mibench."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import DatasetSpec, ProtocolSpec, hookimpl


@hookimpl
def mibench_datasets() -> Iterable[DatasetSpec]:
    """Return the datasets of this plugin."""
    yield DatasetSpec(
        name="orl",
        factory="mibench_datasets.orl:Orl",
        summary="real photographs: 40 people x 10 (AT&T Laboratories Cambridge)",
        paper="orl.bib",
        licence="LicenseRef-ATT-Laboratories-Cambridge",
    )
    yield DatasetSpec(
        name="rendered-faces",
        factory="mibench_datasets.rendered_faces.dataset:RenderedFaces",
        summary="any number of people with exact ground truth, rendered from a CC0 head model",
        licence="CC0-1.0",
    )


@hookimpl
def mibench_protocols() -> Iterable[ProtocolSpec]:
    """Return the frozen protocols of this plugin."""
    for name, summary in (
        ("smoke", "every stage in seconds, for tests; its numbers mean nothing"),
        ("orl64", "real photographs of 20 people at 64 pixels, grey"),
        ("rendered64", "rendered faces of 40 people at 64 pixels, colour"),
    ):
        yield ProtocolSpec(
            name=name,
            version="1.0",
            factory="mibench.protocol.schema:Protocol",
            file=f"mibench_datasets:protocols/{name}.yaml",
            summary=summary,
        )
