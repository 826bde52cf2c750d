"""Files that are written without holding all pixels: byte for byte what safetensors itself writes."""

import pytest
import torch
from safetensors.torch import load_file

from mibench.stages.files import save_streamed, save_tensors


def evidence(count=7):
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=rng)
    return {"pixels": pixels, "labels": torch.arange(count), "scores": torch.randn(count, generator=rng)}


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_bytes_are_those_of_safetensors(tmp_path, count):
    tensors = evidence(count)
    save_tensors(tmp_path / "whole", tensors)
    small = {name: tensors[name] for name in ("scores", "labels")}
    parts = tensors["pixels"].split(3)
    save_streamed(tmp_path / "streamed", small, "pixels", tensors["pixels"].shape, iter(parts))
    assert (tmp_path / "streamed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert torch.equal(load_file(tmp_path / "streamed")["pixels"], tensors["pixels"])


def test_parts_that_do_not_add_up_are_an_error(tmp_path):
    tensors = evidence()
    with pytest.raises(ValueError, match="expected 336 bytes of 'pixels', got 288"):
        save_streamed(tmp_path / "x", {}, "pixels", tensors["pixels"].shape, [tensors["pixels"][:6]])
