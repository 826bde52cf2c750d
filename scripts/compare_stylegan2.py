"""Compare this project's StyleGAN2 with NVIDIA's own code, through the import, at every block.

Makes networks of NVIDIA's classes with random weights, noise strengths and biases, writes them with NVIDIA's own
pickling as its training does, imports the file as ``mibench data import-stylegan`` does, and runs both in float32 with
constant noise. Prints the largest absolute differences and fails above the limit. NVIDIA's repository is not part of
this one; its code is run as it is, from a clone of yours:

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch
    uv run python scripts/compare_stylegan2.py --official stylegan2-ada-pytorch --side 128 256 512 1024
    uv run python scripts/compare_stylegan2.py --official stylegan2-ada-pytorch --side 256 --channel-base 32768
"""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import torch
from mibench_models.priors.stylegan2.discriminator import minibatch_spread
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.priors.stylegan2_file.component import StyleGan2File
from mibench_models.priors.stylegan2_file.importer import StyleGanImporter
from torch import nn

from mibench.api import BlockState, TensorImages, generator, seeded

LIMIT = 1e-3
GROUP = 4
Differences = dict[str, float]


def official(side: int, channel_base: int) -> dict[str, Any]:
    """Return what NVIDIA's training pickles: networks with random weights. Its code must be importable."""
    import dnnlib  # type: ignore[import-not-found]  # there once --official is on the path
    from training.networks import Discriminator, Generator  # type: ignore[import-not-found]

    shape = {"c_dim": 0, "img_resolution": side, "img_channels": 3}
    wide = {"channel_base": channel_base, "channel_max": 512, "num_fp16_res": 4, "conv_clamp": 256}
    with seeded("official", side), torch.no_grad():
        made = Generator(
            z_dim=512, w_dim=512, mapping_kwargs=dnnlib.EasyDict(num_layers=8),
            synthesis_kwargs=dnnlib.EasyDict(**wide), **shape,
        )  # fmt: skip
        critic = Discriminator(
            block_kwargs=dnnlib.EasyDict(), mapping_kwargs=dnnlib.EasyDict(),
            epilogue_kwargs=dnnlib.EasyDict(mbstd_group_size=GROUP), **wide, **shape,
        )  # fmt: skip
        for name, parameter in [*made.named_parameters(), *critic.named_parameters()]:
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(torch.randn(parameter.shape) * (0.1 if "affine" in name else 0.3))
        made.mapping.w_avg.copy_(torch.randn(512) * 0.5)
        average = copy.deepcopy(made)
        for parameter in made.parameters():
            parameter.mul_(1.5)  # the import must take the moving average
    networks = {"G": made, "D": critic, "G_ema": average}
    frozen = {name: net.eval().requires_grad_(False) for name, net in networks.items()}
    return {"training_set_kwargs": {}, "augment_pipe": None, **frozen}


def imported(pickled: dict[str, Any], folder: Path, side: int) -> StyleGan2:
    """Write the networks with NVIDIA's pickling, import the file, and load it as the prior ``stylegan2-file`` does."""
    file = folder / "networks.pkl"
    file.write_bytes(pickle.dumps(pickled))
    made = StyleGanImporter().run(file, folder / "imported")
    component = StyleGan2File(folder=str(made.folder))
    prior = component.build(channels=3, size=side)
    nothing = TensorImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.long), 1)
    trainer = component.trainer(prior, nothing, seed=0, device=torch.device("cpu"))
    for step in range(trainer.total_steps):
        trainer.step(step)
    found = trainer.finish()
    assert isinstance(found, StyleGan2)
    return found


def compare(theirs: nn.Module, critic: nn.Module, ours: StyleGan2, batch: int) -> Differences:
    """Return the largest absolute difference of each part, in the units of NVIDIA's images, [-1, 1]."""
    rng = generator("compare")
    z_BZ = torch.randn(batch, 512, generator=rng)
    found: Differences = {}
    for psi, cutoff in ((1.0, None), (0.7, None), (0.5, 8), (0.5, 3)):
        expected_BLW = theirs.mapping(z_BZ, None, truncation_psi=psi, truncation_cutoff=cutoff)  # type: ignore[operator]
        w_BLW = ours.to_latent(z_BZ, truncation=psi, cutoff=cutoff)
        found["mapping"] = max(found.get("mapping", 0.0), _apart(w_BLW, expected_BLW))
    ws_BLW = w_BLW + 0.3 * torch.randn(w_BLW.shape, generator=rng)  # another style in every layer
    features = image = None
    carry: BlockState | None = None
    at = 0
    synthesis: Any = theirs.synthesis
    for index, side in enumerate(synthesis.block_resolutions):
        block = getattr(synthesis, f"b{side}")
        styles = ws_BLW[:, at : at + block.num_conv + block.num_torgb]
        features, image = block(features, image, styles, noise_mode="const", force_fp32=True)
        at += block.num_conv
        carry = ours.step_block(index, ws_BLW, carry)
        found[f"b{side}"] = max(_apart(carry.features, features), _apart(carry.image, image))
    whole = synthesis(ws_BLW, noise_mode="const", force_fp32=True)
    found["image"] = _apart(ours.render(ws_BLW) * 2 - 1, whole)
    shown = whole / whole.abs().amax(dim=(1, 2, 3), keepdim=True)
    assert ours.critic is not None
    net = ours.critic.net
    spread = minibatch_spread(net.features(shown), min(GROUP, batch))
    found["discriminator"] = _apart(net(shown, spread), critic(shown, None, force_fp32=True)[:, 0])
    return found


def _apart(a: torch.Tensor | None, b: torch.Tensor | None) -> float:
    assert a is not None
    assert b is not None
    assert a.shape == b.shape, f"{a.shape} against {b.shape}"
    return (a - b).abs().max().item()


def main() -> int:
    """Compare and print; return 1 if anything is further apart than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, help="a clone of NVIDIA's stylegan2-ada-pytorch")
    parser.add_argument("--side", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--channel-base", type=int, nargs="+", default=[16384, 32768], help="half width and config-f")
    parser.add_argument("--batch", type=int, default=2)
    args = parser.parse_args()
    sys.path.insert(0, str(args.official.resolve()))
    sys.modules.setdefault("requests", types.ModuleType("requests"))  # imported there, for downloads only
    worst = 0.0
    print(f"largest absolute differences, torch {torch.__version__}, CPU, float32, batch {args.batch}\n")
    for side in args.side:
        for base in args.channel_base:
            with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                pickled = official(side, base)
                ours = imported(pickled, Path(folder), side)
                found = compare(pickled["G_ema"], pickled["D"], ours, args.batch)
            worst = max(worst, *found.values())
            print(f"{side} px, channel_base {base}: " + ", ".join(f"{k} {v:.1e}" for k, v in found.items()), flush=True)
    print(f"\nworst {worst:.1e}, limit {LIMIT:.0e}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
