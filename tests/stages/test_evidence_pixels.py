"""Evidence is what PNG files of the delivered images would hold, and metrics see just that."""

import io
from dataclasses import replace

import numpy as np
import torch
from fake_plugin import parts
from PIL import Image
from torchvision.transforms.functional import to_tensor

from mibench.stages.files import load_tensors
from mibench.store.store import Store

CLASSES, IMAGES = 3, 2
LEVELS = np.arange(256) / 255  # float64
OFFSETS = (-0.499, -0.3, -0.01, 0.0, 0.2, 0.499)
"""Distance of a value from the level of its pixel, in levels; one for each image."""


def delivered(label):
    """Return two images (2, 1, 16, 16) in float64; each holds all 256 levels, off by its offset, in its own order."""
    images = []
    for image in range(IMAGES):
        place = label * IMAGES + image
        values = np.clip(LEVELS + OFFSETS[place] / 255, 0, 1)
        images.append(np.roll(values, 40 * place).reshape(1, 16, 16))
    return np.stack(images)


def saved_as_png(image_CHW):
    """Return the PNG file of an image in [0, 1], as its pixels: for each value the nearest of 256 levels."""
    nearest_HW = np.abs(image_CHW[0, :, :, None] - LEVELS).argmin(-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(nearest_HW).save(file, format="PNG")
    return Image.open(file)


def test_files_hold_and_metrics_see_what_png_files_of_the_delivered_images_would_hold(toy_run, tmp_path, monkeypatch):
    shown, honest, measure = [], parts.Guess.reconstruct, parts.Light.measure

    def reconstruct(self, label, *world):
        return replace(honest(self, label, *world), images_NCHW=torch.tensor(delivered(label), dtype=torch.float32))

    def look(self, evidence, ctx):
        shown.append(evidence)
        return measure(self, evidence, ctx)

    monkeypatch.setattr(parts.Guess, "reconstruct", reconstruct)
    monkeypatch.setattr(parts.Light, "measure", look)
    key = toy_run().planned.cells[0].reconstructions.key
    kept = load_tensors(Store(tmp_path / "store").get("reconstruct", key).file("evidence.safetensors"))
    files = [saved_as_png(image) for label in range(CLASSES) for image in delivered(label)]
    assert np.array_equal(kept["pixels"].numpy()[:, 0], np.stack([np.asarray(file) for file in files]))
    assert kept["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    read_NCHW = torch.stack([to_tensor(file) for file in files])
    # controls are measured too; the evidence of the attack is what comes closest
    seen = min(shown, key=lambda evidence: (evidence.images_NCHW - read_NCHW).abs().max())
    assert seen.images_NCHW.dtype == torch.float32
    assert torch.equal(seen.images_NCHW, read_NCHW)
    assert seen.labels_N.tolist() == [0, 0, 1, 1, 2, 2]
