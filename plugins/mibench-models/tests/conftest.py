"""What tests of this plugin share: a writer of NVIDIA's network pickles."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for network_pickles.py, and the formulas in by_hand.py

from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from network_pickles import random_networks, write_network_pickle


@pytest.fixture()
def write_official(tmp_path: Path) -> Callable[..., Path]:
    """Return ``write(generator, discriminator, protocol=, edit=)``, which writes a pickle and gives its path."""
    return partial(write_network_pickle, tmp_path / "tiny.pkl")


@pytest.fixture()
def official_networks() -> Callable[..., tuple[Generator, Discriminator]]:
    """Return ``random_networks``."""
    return random_networks
