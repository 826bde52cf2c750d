"""What an attack makes once and keeps between restarts, with what it spent on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from mibench.api.rng import derive_seed, seeded
from mibench.api.target import Ledger, TargetView
from mibench.training.checkpoints import load_checkpoint, save_checkpoint


class ComputeCache:
    """``AttackContext.remember`` of a stage.

    Args:
        work: folder that survives a crash and goes with the commit.
        view: whose ledger the spending is entered in.
        seed: of the attack.
        device: where the tensors are wanted.
    """

    def __init__(self, work: Path, view: TargetView, seed: int, device: torch.device) -> None:
        self.work, self.view, self.seed, self.device = work, view, seed, device

    def __call__(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return the tensors of this name: kept ones, or else what ``make`` returns.

        Libraries that draw from torch's global generators inside ``make`` do so from a seed of this name, so that what
        follows is the same whether the tensors were made or found.
        """
        path = self.work / f"kept_{derive_seed(name):016x}.pt"
        kept = load_checkpoint(path)
        if kept is None:
            with self.view.spending() as spent, seeded(self.seed, "remember", name):
                made = {key: tensor.detach().cpu() for key, tensor in make().items()}
            kept = {"name": name, "tensors": made, "spent": asdict(spent)}
            save_checkpoint(path, kept)
        else:
            self.view.ledger.add(Ledger(**kept["spent"]))
        return {key: tensor.to(self.device) for key, tensor in kept["tensors"].items()}
