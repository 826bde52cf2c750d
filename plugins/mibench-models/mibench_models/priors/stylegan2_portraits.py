"""The prior ``stylegan2-portraits``: a StyleGAN2 of rendered portraits that was trained for long, and is shipped.

As attacks on photographs take NVIDIA's generator of FFHQ, whoever the private people are, those on rendered faces can
take this one. It has seen 100 000 frontal portraits of people of a population that no protocol has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from mibench.api import FlatNames, params
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2.deploy import Inference
from mibench_models.priors.stylegan2_file.reading import FromFile

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class StyleGan2Portraits(FromFile):
    """Use the shipped StyleGAN2 of 100 000 rendered portraits, 64 pixels, colour.

    Images are rendered at 64 pixels and resized to the protocol's side; RGB becomes grey for protocols with one
    channel. ``docs/experiments/faces64-stylegan2.yaml`` is how it was trained, and ``shipped/`` has its card.

    Attributes:
        inference: how the generator computes in attacks.
    """

    inference: Annotated[Inference, FlatNames()] = Inference()
    crop = 1.0

    def weights(self) -> tuple[Path, str]:
        """Return the shipped file, and its digest as the manifest beside it states it."""
        return _folder() / WEIGHTS, _manifest()["files"][WEIGHTS]

    def design(self) -> dict[str, Any]:
        """Return the networks' arguments, as they were trained."""
        trained = _manifest()["payload"]
        component = params.build(StyleGan2Prior, trained["prior"]["params"])
        return component.design(**trained["image"])


def _folder() -> Path:
    return Path(str(files("mibench_models"))) / "shipped" / "faces64-stylegan2"


@cache
def _manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_folder() / "manifest.json").read_text(encoding="utf-8"))
    return found
