"""``mibench data import-stylegan``: NVIDIA's pickle to safetensors, which the prior ``stylegan2-file`` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mibench.api import DataError, Imported, Importer, generator, sha256_of_file
from mibench_models.priors.stylegan2.discriminator import GROUP, Discriminator, minibatch_spread
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.priors.stylegan2_file.component import METADATA, WEIGHTS
from mibench_models.priors.stylegan2_file.official_networks import convert_discriminator, convert_generator
from mibench_models.priors.stylegan2_file.official_pickle import NetworkRecord, read_pickle

DESIGN, CARD = "config.json", "README.md"
"""Files beside the weights, for people; the weights' metadata repeat the design, so that one digest covers both."""

MEASURED = 16
"""Generated images over which the discriminator's minibatch statistic is measured, or one group if that is larger."""


@dataclass(frozen=True, kw_only=True)
class StyleGanImporter(Importer):
    """Import ``G_ema`` and ``D`` of a pickle of stylegan2-ada-pytorch (or StyleGAN2 of the stylegan3 repository).

    The file is read as data: code that it carries is not run. The discriminator's minibatch statistic, which the prior
    fixes, is measured on generated images, because the training images are not in the file.
    """

    def run(self, source: Path, folder: Path) -> Imported:
        """Write weights, design and card; see :class:`mibench.api.Importer`."""
        source = source.expanduser()
        found = read_pickle(source)
        try:
            prior, design = _convert(found)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
        design["source"] = {"file": source.name, "sha256": sha256_of_file(source)}
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / WEIGHTS
        state = {name: tensor.contiguous() for name, tensor in prior.state_dict().items()}
        _keep_others(folder, design["source"]["sha256"])
        save_file(state, weights, metadata={METADATA: json.dumps(design, sort_keys=True)})
        digest = sha256_of_file(weights)
        (folder / DESIGN).write_text(json.dumps(design, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (folder / CARD).write_text(_card(design, prior, digest), encoding="utf-8")
        return Imported(folder, _summary(design), _use(folder.absolute(), digest))


def _convert(found: dict[str, Any]) -> tuple[StyleGan2, dict[str, Any]]:
    average, critic = found.get("G_ema"), found.get("D")
    if not isinstance(average, NetworkRecord):
        raise DataError(f"expected a network under 'G_ema'; the file holds {sorted(map(str, found))}")
    net, design = convert_generator(average)
    config: dict[str, Any] = {"generator": design, "discriminator": None}
    if not isinstance(critic, NetworkRecord):
        return StyleGan2(net), config
    judge, config["discriminator"], group = convert_discriminator(critic)
    for key in ("img_resolution", "img_channels"):
        if design[key] != config["discriminator"][key]:
            raise DataError(f"G_ema and D differ in {key}: {design[key]} and {config['discriminator'][key]}")
    prior = StyleGan2(net, judge)
    assert prior.critic is not None  # noqa: S101 - it was just given
    prior.critic.spread.fill_(_spread(net, judge, group or GROUP))
    return prior, config


@torch.no_grad()
def _spread(net: Generator, judge: Discriminator, group: int) -> float:
    """Measure the minibatch statistic, to three digits so that all machines write the same file."""
    rng, total = generator("import", "spread"), 0.0
    groups = max(1, MEASURED // group)
    for _ in range(groups):
        x_BcRR = net(torch.randn(group, net.z_dim, generator=rng))
        total += minibatch_spread(judge.features(x_BcRR.clamp(-1, 1)), group)[0].item()
    return float(f"{total / groups:.3g}")


def _summary(design: dict[str, Any]) -> str:
    net = design["generator"]
    widths = f"channel_base {net['channel_base']}, channel_max {net['channel_max']}"
    clamp = "no clamp" if net["conv_clamp"] is None else f"clamp {net['conv_clamp']:g}"
    critic = "with discriminator" if design["discriminator"] else "without discriminator"
    side, channels = net["img_resolution"], net["img_channels"]
    depth = f"{net['mapping_layers']} mapping layers"
    return f"StyleGAN2, {side} px, {channels} channels, {widths}, {depth}, {clamp}, {critic}"


def _keep_others(folder: Path, source: str) -> None:
    """Refuse to put weights where others are: results of those would be taken for results of these."""
    try:
        there = json.loads((folder / DESIGN).read_text(encoding="utf-8"))["source"]
    except (OSError, ValueError, KeyError):
        return
    if there["sha256"] != source:
        raise DataError(
            f"{folder} holds what was imported from another {there['file']} (sha256 {there['sha256'][:12]}); choose"
            " another folder with --output, or delete that one"
        )


def _use(folder: Path, digest: str) -> tuple[str, ...]:
    try:
        shown = f"~/{folder.relative_to(Path.home())}"
    except (RuntimeError, ValueError):  # no home, or not in it
        shown = str(folder)
    params = f"folder: {shown}, sha256: {digest}, crop: 0.78125"
    name = "stylegan2-file"
    return (
        f"in one run:    mibench run --attack ppa --set ppa.prior={name} --set {name}.folder={shown}"
        f" --set {name}.crop=0.78125",
        f"in a protocol: prior: {{name: {name}, params: {{{params}}}}}",
        "crop is the fraction of the side that shows the object: 0.78125 for faces of FFHQ, as in PPA; else 1",
    )


def _card(design: dict[str, Any], prior: StyleGan2, digest: str) -> str:
    numbers = {name: sum(p.numel() for p in net.parameters()) for name, net in prior.named_children()}
    listed = ", ".join(f"{name} {count:,}" for name, count in numbers.items())
    return f"""# {design["source"]["file"]}, imported

{_summary(design)}.

- source: `{design["source"]["file"]}`, sha256 `{design["source"]["sha256"]}`
- `{WEIGHTS}`: sha256 `{digest}`; names and numbers of the source's `G_ema` and `D`, float32
- parameters: {listed}
- made by `mibench data import-stylegan`; read by the prior `stylegan2-file` with `folder` = this folder

Licence: converting weights does not change whose they are. NVIDIA's weights keep NVIDIA's licence, and so do those that
others trained; read it before you share this folder.
"""
