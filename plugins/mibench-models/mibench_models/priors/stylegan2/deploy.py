"""Making a trained generator faster for attacks, behind a measured check that its images stay the same.

Shapes: N latents, L style layers, W size of a style vector, C channels, R side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api import UsageError, full_precision, generator
from mibench_models.priors.stylegan2.compute import Compute
from mibench_models.priors.stylegan2.modulated import SynthesisLayer, ToRgb
from mibench_models.priors.stylegan2.prior import StyleGan2

CHECKED = 4
"""Latents whose images are compared."""

TOLERANCE = 0.03
"""Largest root mean square difference of an image from its float32 rendering, in its standard deviations (30 dB)."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a trained generator computes in attacks. Nothing of it changes the training.

    Attributes:
        compute: arithmetic: fp32, tf32 or bf16 (mapping stays float32).
        compile: compile with torch.compile.
    """

    compute: Compute = "fp32"
    compile: bool = False


def deploy(prior: StyleGan2, *, compute: Compute, compiled: bool) -> StyleGan2:
    """Switch the synthesis network of a frozen prior to another arithmetic, or compile it; mapping stays float32.

    A clone of the prior keeps the arithmetic and is not compiled.

    Args:
        prior: trained, on its device; changed in place.
        compute: "fp32" changes nothing, "tf32" and "bf16" use tensor cores.
        compiled: compile each block with ``torch.compile``; the first images then take minutes.

    Returns:
        The prior.

    Raises:
        UsageError: if an image differs by more than ``TOLERANCE``, or compilation fails; both state what to do.
    """
    if compute == "fp32" and not compiled:
        return prior
    with torch.no_grad(), full_precision():
        latents_NLW = prior.to_latent(prior.sample(CHECKED, generator("deploy", prior.noise_size)))
        expected_NCRR = prior.render(latents_NLW)
        _switch(prior, compute)
        found_NCRR = _compile(prior, latents_NLW) if compiled else prior.render(latents_NLW)
    difference = image_difference(found_NCRR, expected_NCRR)
    if not difference <= TOLERANCE:  # also catches NaN
        raise UsageError(
            f"prior with compute={compute}, compile={str(compiled).lower()}: images differ from float32 by"
            f" {difference:.4f} of their standard deviation (root mean square); the tolerance is {TOLERANCE}."
            " Use compute=fp32 and compile=false for this prior."
        )
    return prior


def image_difference(found_NCRR: Tensor, expected_NCRR: Tensor) -> float:
    """Return the root mean square difference of the image that differs most, in its standard deviations."""
    difference_N = (found_NCRR - expected_NCRR).square().mean(dim=(1, 2, 3)).sqrt()
    return (difference_N / expected_NCRR.std(dim=(1, 2, 3)).clamp_min(1e-6)).max().item()


def _switch(prior: StyleGan2, compute: Compute) -> None:
    for module in prior.generator.synthesis.modules():
        if isinstance(module, SynthesisLayer | ToRgb):
            module.compute = compute


def _compile(prior: StyleGan2, latents_NLW: Tensor) -> Tensor:
    """Compile the blocks and return the first images."""
    try:
        for block in prior.generator.synthesis.blocks():
            # In place: names of parameters stay, and copies of the module are not compiled. All blocks share their
            # source, and so a limit of recompilations, unless they are kept apart (torch 2.15).
            block.compile(isolate_recompiles=True)
        return prior.render(latents_NLW)
    except Exception as error:  # the compiler raises what it likes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"prior with compile=true: it does not work here ({reason}). Use compile=false.") from error
