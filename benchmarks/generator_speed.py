"""How fast an attack on a StyleGAN2 prior steps: this repository's generator against the textbook formulation.

A step is one of PPA's: render a batch of candidates, resize and crop them for a ResNet-18, take the Poincaré loss,
differentiate it with respect to the style vectors, and update these by Adam. The textbook formulation (Karras et al.
2020, appendix B, and the usual evaluation path) gives each sample weights of its own in a grouped convolution; this
repository scales activations. Both have the same weights and the same target and take turns in one process; the ratio
is the median over rounds. Prints a Markdown table.

`of peak` is the floating-point work of the cheaper formulation, by formula, over measured time, over what a large
matrix product reaches here in the same arithmetic. `held` is what autograd keeps for the backward pass; `peak memory`
what steps need at most beyond the networks: of the allocator on a GPU, resident in a process of its own on a CPU.

    uv run python benchmarks/generator_speed.py                     # 128 px, half width on a CPU; 1024 px on a GPU
    uv run python benchmarks/generator_speed.py --device cuda --batch 16 --compute fp32 tf32 bf16
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mibench_attacks.losses.objectives import poincare
from mibench_attacks.search.optimisers import adam
from mibench_attacks.views.transforms import RandomView
from mibench_models.priors.stylegan2.compute import tensor_cores
from mibench_models.priors.stylegan2.deploy import deploy
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.modulated import SynthesisLayer, ToRgb
from mibench_models.priors.stylegan2.prior import StyleGan2
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu
from torchvision.models import resnet18

from mibench.api import freeze, full_precision, generator, resize, seeded

CLASSES = 530
Render = Callable[[Tensor], Tensor]


def textbook(net: Generator, ws_BLW: Tensor) -> Tensor:
    """Render with per-sample weights: (B, c, R, R), nominally in [-1, 1]."""
    x_BCHW: Tensor | None = None
    image: Tensor | None = None
    for index, block in enumerate(net.synthesis.blocks()):
        at = max(2 * index - 1, 0)
        if x_BCHW is None:
            x_BCHW = block.const.expand(len(ws_BLW), -1, -1, -1)
        else:
            x_BCHW, at = _layer(block.conv0, x_BCHW, ws_BLW[:, at]), at + 1
        x_BCHW = _layer(block.conv1, x_BCHW, ws_BLW[:, at])
        rgb = _to_rgb(block.torgb, x_BCHW, ws_BLW[:, at + 1])
        if image is not None:
            channels = image.shape[1]
            fir = (block.fir * 4).expand(channels, 1, 4, 4).to(image.dtype)
            rgb = rgb + conv_transpose2d(image, fir, stride=2, padding=1, groups=channels)
        image = rgb
    assert image is not None
    return image


def _layer(layer: SynthesisLayer, x_BCHW: Tensor, w_BW: Tensor) -> Tensor:
    weights = layer.weight[None] * layer.affine(w_BW)[:, None, :, None, None]
    weights = weights * torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    batch, outputs, inputs = weights.shape[:3]
    flat = x_BCHW.reshape(1, batch * inputs, *x_BCHW.shape[2:])
    if layer.up:
        kernels = weights.transpose(1, 2).reshape(batch * inputs, outputs, 3, 3)
        y = conv_transpose2d(flat, kernels, stride=2, groups=batch)
        fir = (layer.fir * 4).expand(batch * outputs, 1, 4, 4).to(y.dtype)
        y = conv2d(y, fir, padding=1, groups=batch * outputs)
    else:
        y = conv2d(flat, weights.reshape(batch * outputs, inputs, 3, 3), padding=1, groups=batch)
    y = y.reshape(batch, outputs, *y.shape[2:]) + (layer.noise_const * layer.noise_strength).to(y.dtype)
    y = leaky_relu(y + layer.bias[:, None, None].to(y.dtype), 0.2) * 2**0.5
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def _to_rgb(layer: ToRgb, x_BCHW: Tensor, w_BW: Tensor) -> Tensor:
    weights = layer.weight[None] * (layer.affine(w_BW) * layer.weight_gain)[:, None, :, None, None]
    batch, outputs, inputs = weights.shape[:3]
    flat = x_BCHW.reshape(1, batch * inputs, *x_BCHW.shape[2:])
    y = conv2d(flat, weights.reshape(batch * outputs, inputs, 1, 1), groups=batch)
    y = y.reshape(batch, outputs, *y.shape[2:]).float() + layer.bias[:, None, None]
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


class Bench:
    """One generator, one target, and steps of an attack through both."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        with seeded("benchmark"), torch.no_grad():
            net = Generator(img_resolution=args.side, channel_base=args.channel_base, conv_clamp=256.0)
            for name, parameter in net.named_parameters():
                if name.endswith(("noise_strength", "bias")):
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
            self.target = freeze(resnet18(num_classes=CLASSES)).to(self.device)
        self.prior = freeze(StyleGan2(net)).to(self.device)
        self.y_B = torch.zeros(args.batch, dtype=torch.int64, device=self.device)
        self.ws_BLW = self.prior.to_latent(self.prior.sample(args.batch, generator("benchmark"))).detach()
        self.crop = RandomView(scale=(0.9, 1.0)).draw(args.batch, args.target_side, generator("crop"))

    def textbook(self, ws_BLW: Tensor) -> Tensor:
        """Render images in [0, 1] by the textbook."""
        return (textbook(self.prior.generator, ws_BLW) + 1) / 2

    def step(self, render: Render) -> float:
        """Take a step of an attack and return its seconds."""
        began = self._now()
        w_B1W: Tensor = self.ws_BLW[:, :1].clone().requires_grad_(True)
        optimizer = adam(0.005, (0.1, 0.1))([w_B1W])
        x_BCSS = resize(render(w_B1W.expand(-1, self.prior.latent_layers, -1)), self.args.target_side)
        poincare(self.target(self.crop.apply(x_BCSS)), self.y_B).sum().backward()
        optimizer.step()
        return self._now() - began

    def held(self, render: Render) -> float:
        """Return the gigabytes of tensors that autograd holds for the backward pass, parameters apart."""
        own = {tensor.untyped_storage().data_ptr() for tensor in (*self.prior.parameters(), *self.target.parameters())}
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self.step(render)
        return sum(sizes.values()) / 1e9

    def peak_memory(self, render: Render) -> float:
        """Return the gigabytes that two steps need at most, beyond what there is before them.

        On a CPU only once in a process: what it has freed before is used again and does not count.
        """
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is resident
        before = torch.cuda.memory_allocated() if cuda else _resident_peak()
        self.step(render)
        self.step(render)
        return ((torch.cuda.max_memory_allocated() if cuda else _resident_peak()) - before) / 1e9

    def work(self) -> float:
        """Return the floating-point operations of a step: forward, and backward to inputs, of all convolutions."""
        total = 0
        for side, block in zip(
            self.prior.generator.synthesis.sides, self.prior.generator.synthesis.blocks(), strict=True
        ):
            for layer in block.children():
                if isinstance(layer, SynthesisLayer | ToRgb):
                    up = isinstance(layer, SynthesisLayer) and layer.up
                    pixels = (side // 2) ** 2 if up else side**2
                    filtered = 16 * len(layer.weight) * side**2 if up else 0
                    total += layer.weight.numel() * pixels + filtered
        batch: int = self.args.batch
        return 4.0 * batch * (total + multiplications(self.target, self.args.target_side, self.device))

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def multiplications(net: nn.Module, side: int, device: torch.device) -> int:
    """Count the multiplications of the convolutions and linear layers of a network for one image."""
    total = 0

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        total += layer.weight.numel() * (output.shape[-1] * output.shape[-2] if output.ndim == 4 else 1)

    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        net(torch.zeros(1, 3, side, side, device=device))
    for handle in handles:
        handle.remove()
    return total


@contextmanager
def arithmetic(compute: str, device: torch.device) -> Iterator[None]:
    """Compute everything inside in this arithmetic, by torch's own switches: how the textbook is sped up."""
    half: AbstractContextManager[Any] = (
        torch.autocast(device.type, torch.bfloat16) if compute == "bf16" else nullcontext()
    )
    with tensor_cores() if compute == "tf32" else nullcontext(), half:
        yield


def matmul_peak(compute: str, device: torch.device, size: int) -> float:
    """Return the operations per second of the best of ten large matrix products."""
    kind = torch.bfloat16 if compute == "bf16" else torch.float32
    a, b = (torch.randn(size, size, generator=generator(name)).to(device, kind) for name in "ab")
    seconds = []
    with tensor_cores() if compute == "tf32" else nullcontext():
        for _ in range(10):
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            a @ b
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def formulations(bench: Bench, compute: Any) -> dict[str, Render]:
    """Return both ways to render, in one arithmetic."""
    ours = deploy(bench.prior.clone(), compute=compute, compiled=bench.args.compile)

    def plain(ws_BLW: Tensor) -> Tensor:
        with arithmetic(compute, bench.device):
            return bench.textbook(ws_BLW).float()

    return {"textbook": plain, "ours": ours.render}


def peak_of_a_process(name: str) -> float:
    """Return the peak memory of one formulation on a CPU, measured in a fresh process with the same arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _resident_peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(bench: Bench, compute: Any) -> None:
    """Measure both formulations in one arithmetic, by turns, and print their rows."""
    args = bench.args
    with full_precision():
        expected = bench.textbook(bench.ws_BLW).detach()
        difference = (bench.prior.render(bench.ws_BLW).detach() - expected).abs().max().item()
        assert difference < 1e-3, f"the formulations differ by {difference}"
        ways = formulations(bench, compute)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        switch = tensor_cores() if compute == "tf32" else nullcontext()  # also for the textbook's backward pass
        with switch:
            for turn in range(args.rounds + 2):
                for name, render in ways.items():
                    taken = bench.step(render)
                    if turn >= 2:
                        seconds[name].append(taken)
        limit = matmul_peak(compute, bench.device, args.matmul)
        for name, render in ways.items():
            ratio = median(t / o for t, o in zip(seconds["textbook"], seconds[name], strict=True))
            share = bench.work() / median(seconds[name]) / limit
            peak = bench.peak_memory(render) if args.device == "cuda" else peak_of_a_process(name)
            memory = [bench.held(render), peak]
            cells = [f"{args.batch / median(seconds[name]):.2f}", f"{ratio:.2f}", f"{share:.0%}"]
            cells += [f"{value:.2f} GB" for value in memory]
            print(f"| {name} | {compute} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    args = arguments()
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    if args.peak_of:
        print(bench.peak_memory(formulations(bench, args.compute[0])[args.peak_of]))
        return
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} thread(s)"
    print(f"{where}, torch {torch.__version__}; {args.side} px, channel_base {args.channel_base}, batch {args.batch},")
    print(f"ResNet-18 at {args.target_side} px; {bench.work() / args.batch / 1e9:.0f} GFLOP per candidate-step\n")
    print("| formulation | arithmetic | candidate-steps/s | ratio | of peak | held | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for compute in args.compute:
        measure(bench, compute)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--side", type=int, help="default: 1024 on a GPU, 128 on a CPU")
    parser.add_argument("--channel-base", type=int, help="default: 32768 from 512 px, else 16384")
    parser.add_argument("--target-side", type=int, help="default: 224 on a GPU, 64 on a CPU")
    parser.add_argument("--batch", type=int, help="default: 8 on a GPU, 4 on a CPU")
    parser.add_argument(
        "--compute", nargs="+", choices=["fp32", "tf32", "bf16"], help="default: all on a GPU, else fp32"
    )
    parser.add_argument("--compile", action="store_true", help="compile this repository's generator")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak-of", choices=["textbook", "ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    gpu = args.device == "cuda"
    args.side = args.side or (1024 if gpu else 128)
    args.channel_base = args.channel_base or (32768 if args.side >= 512 else 16384)
    args.target_side = args.target_side or (224 if gpu else 64)
    args.batch = args.batch or (8 if gpu else 4)
    args.compute = args.compute or (["fp32", "tf32", "bf16"] if gpu else ["fp32"])
    args.matmul = 8192 if gpu else 1024
    return args


if __name__ == "__main__":
    main()
