"""A tiny world for audits: three folders of pictures, a network trained on them by plain torch, and small settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

PEOPLE, PUBLIC, SIDE = 6, 8, 32
CODE = """
from torch import nn

def make(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(576, num_classes),
    )
"""
TEMPLATE = """
name: tiny-audit
version: "1.0"
summary: every stage of an audit in seconds
dataset: {name: two-folders}
image: {size: 32, channels: 3}
split: {seed: 0, private: 2, public: 1, train: 1, val: 0, test: 1, assigned: true, listed: true}
model: {name: foreign}
recipe: {epochs: 8, batch: 12, lr: 0.003}
prior: {name: pca, params: {components: 12}}
evaluators:
  - name: cnn
    model: {name: smallcnn, params: {widths: [8, 16], features: 32}}
    recipe: {epochs: 4, batch: 12, lr: 0.003}
    seed: 1000
embedder: {name: sface}
attacks:
  ppa: {name: ppa, params: {pool: 32, candidates: 4, final: 4, steps: 5, draws: 5, truncation: 1.0, lr: 0.1}}
suite: [ppa, cma, brep-mi]
undefended: {name: none}
floor: {name: prior-topconf, params: {pool: 32, final: 4, truncation: 1.0}}
metrics: [{name: accuracy}, {name: attack-accuracy}, {name: re-identification}]
headline: reid@1
seeds: [0]
presets:
  attack:
    brep-mi: {pool: 300, final: 2, steps: 3, points: 4}
    cma: {pool: 32, restarts: 2, generations: 3, population: 4, keep: 4, final: 4, draws: 2}
  model:
    foreign-fresh: {}
"""


class World:
    """Folders, code and weights."""

    def __init__(self, root: Path) -> None:
        self.root, self.code = root, root / "mynet.py"
        self.weights, self.template = root / "weights.safetensors", root / "tiny.yaml"

    def folder(self, name: str) -> Path:
        return self.root / name

    def options(self, **changes: object) -> dict[str, object]:
        """Return the fields of a request that fits."""
        fields: dict[str, object] = {
            "model": f"{self.code}:make",
            "weights": self.weights,
            "private": self.folder("private"),
            "heldout": self.folder("heldout"),
            "public": self.folder("public"),
            "size": SIDE,
            "mean": (0.5,),
            "std": (0.25,),
            "template": str(self.template),
            "device": "cpu",
            "store": self.root / "store",
            "output": self.root / "audit",
        }
        return {name: value for name, value in {**fields, **changes}.items() if value is not None}

    def network(self) -> nn.Module:
        space: dict[str, object] = {}
        exec(compile(self.code.read_text(), str(self.code), "exec"), space)
        torch.manual_seed(0)
        made = space["make"](PEOPLE)  # type: ignore[operator]
        assert isinstance(made, nn.Module)
        return made

    def photographs(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images in [0, 1] and labels, read by Pillow."""
        files = sorted(self.folder(name).rglob("*.png"))
        owners = sorted({file.parent.name for file in files})
        pixels = [torch.tensor(list(Image.open(file).tobytes())).view(SIDE, SIDE, 3) for file in files]
        labels_N = torch.tensor([owners.index(file.parent.name) for file in files])
        return torch.stack(pixels).permute(0, 3, 1, 2) / 255, labels_N


def draw(world: World) -> None:
    """Write each person as a pattern of their own, in colours that a swap of channels changes, with noise."""
    rng = torch.Generator().manual_seed(5)
    for kind, people, images in (("private", PEOPLE, 6), ("public", PUBLIC, 3)):
        for person in range(people):
            own = torch.rand(3, 4, 4, generator=rng)
            large = nn.functional.interpolate(own[None], SIDE, mode="bilinear")[0]
            for number in range(images):
                noisy = large + 0.05 * torch.randn(large.shape, generator=rng)
                pixels_HWC = (255 * noisy.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).contiguous()
                part = "heldout" if kind == "private" and number > 3 else kind
                folder = world.folder(part) / f"{kind} {person}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.frombytes("RGB", (SIDE, SIDE), bytes(pixels_HWC.flatten().tolist())).save(
                    folder / f"{number}.png"
                )


def train(world: World) -> None:
    """Train with plain torch code, none of it mibench's."""
    net, (x_NCHW, y_N) = world.network(), world.photographs("private")
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(net((x_NCHW - 0.5) / 0.25), y_N).backward()
        optimizer.step()
    save_file(net.eval().state_dict(), world.weights)


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    world.code.write_text(CODE, encoding="utf-8")
    world.template.write_text(TEMPLATE, encoding="utf-8")
    draw(world)
    train(world)
    return world


@pytest.fixture()
def world(made_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return the world, with an output folder of this test's own."""
    monkeypatch.setenv("MIBENCH_THREADS", "1")
    found = World(made_world.root)
    options = found.options
    found.options = lambda **changes: options(  # type: ignore[method-assign]
        **{"output": tmp_path / "audit", **changes}
    )
    return found
