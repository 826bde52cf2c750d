"""Tensors on disk: who may read them, and what a full disk says."""

import errno
import os
import stat

import pytest
import torch
from safetensors import SafetensorError

from mibench.stages import files
from mibench.stages.files import load_tensors, save_tensors
from mibench.training.checkpoints import save_checkpoint


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_tensors_and_checkpoints_are_as_shared_as_their_folder(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        folder = tmp_path / "folder"
        folder.mkdir()
        save_tensors(folder / "a.safetensors", {"a": torch.arange(3)})
        save_checkpoint(folder / "b.pt", {"b": torch.arange(3)})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {mode}
    assert load_tensors(folder / "a.safetensors")["a"].tolist() == [0, 1, 2]


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    """safetensors has an error of its own for it, which hides the number in its text."""

    def full(_tensors, _path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
    assert caught.value.errno == errno.ENOSPC


def test_what_is_no_trouble_of_the_disk_stays_as_it_is(tmp_path, monkeypatch):
    def wrong(_tensors, _path):
        raise SafetensorError("Error while serializing: invalid")

    monkeypatch.setattr(files, "save_file", wrong)
    with pytest.raises(SafetensorError, match="invalid"):
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
