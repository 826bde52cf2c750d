"""Sparse coding architecture (SCA): sparse-coding layers in front of any network.

Shapes: B images of a batch, C channels, H = W pixels, F features of a dictionary, h = w positions of its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, MinLen

from mibench.api import Classifier, Defense, FlatNames, SelfCheck, TrainContext, UsageError
from mibench_defenses.parts.lca import ConvLca, Lca
from mibench_defenses.parts.sparse_front_end import SparseFrontEnd

SUPPRESSED = 0.05
"""Share of the positive potentials that the threshold must silence for a code to count as sparse."""
SIGNALS = ("activity", "silenced", "error")
SMALL_CNN_ADDS = 8.7e6
"""Multiply-adds of the default SmallCnn for one image of 3 x 64 x 64 pixels."""


@dataclass(frozen=True, kw_only=True)
class SparseCoding(Defense):
    """Show the network only what a sparse, non-negative code keeps of the image: argmin 1/2 |u-Phi a|^2 + lam |a|_1.

    Each layer standardises its input per image, runs a fixed number of LCA iterations (see ``lca``) and passes on the
    code a, and the last one by default the image Phi a, back in the units of the image, which every network takes.
    The layers sit between the input's normalisation and the network; dropout and BatchNorm of the published networks
    between them are left out. Gradients of an attacker flow through all iterations. With a fixed dictionary training
    needs no gradient of the layers, so it is cheaper than an attack.

    Source: Dibbo, Breuer, Moore and Teti, ECCV 2024; LCA: Rozell, Johnson, Baraniuk and Olshausen, 2008.

    Attributes:
        channels: features F of each layer, from the image on; 12 at stride 2 is once complete in colour.
        dictionary: fixed random unit-norm filters (as released), trained by the loss, or by the Hebbian rule.
        eta: rate of the Hebbian rule.
        reconstruct: hand Phi a to the network; false hands over the code, which needs as many features as the network
            has input channels, and stride 1.
        lca: filters and iterations of each layer.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The authors' sparse layers (CIFAR-10 and a CelebA split), here in front of the unchanged network.
        "paper": {"channels": (16, 32), "kernel": 5, "stride": 1, "lam": 0.5, "tau": 100.0, "iterations": 500},
        # AT-AT's and DaredEVAL's code: three features straight into the backbone; colour networks only.
        "daredeval": {
            "channels": (3,),
            "kernel": 7,
            "stride": 1,
            "lam": 0.25,
            "tau": 100.0,
            "iterations": 1000,
            "reconstruct": False,
        },
        "small": {},  # ours, for CPUs
    }

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (12,)
    dictionary: Literal["fixed", "autograd", "hebbian"] = "fixed"
    eta: Annotated[float, Gt(0)] = 0.01
    reconstruct: bool = True
    lca: Annotated[Lca, FlatNames()] = Lca()

    def __post_init__(self) -> None:
        if not self.reconstruct and self.lca.stride != 1:
            raise UsageError("sca: without reconstruct the network takes the code as its image: use stride 1.")

    def cost(self) -> float:
        """Return the training cost in front of the default SmallCnn at 64 x 64 pixels in colour; less on larger ones.

        An iteration has two convolutions of C F kernel^2 multiply-adds per position. Only a dictionary that is trained
        by the loss has a backward pass. ``benchmarks/defense_cost.py sca`` measures it.
        """
        enters, side, adds = 3, 64, 0.0
        for features in self.channels:
            side = -(-side // self.lca.stride)
            adds += 2 * self.lca.iterations * enters * features * self.lca.kernel**2 * side**2
            enters = features
        return 1 + adds * (3 if self.dictionary == "autograd" else 1) / (3 * SMALL_CNN_ADDS)

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put the layers in front of the network, behind the input's normalisation.

        Raises:
            UsageError: if the code is to be the network's input and has another number of channels.
        """
        if not self.reconstruct and self.channels[-1] != classifier.channels:
            raise UsageError(
                f"sca: the network takes {classifier.channels} channels and the code has {self.channels[-1]}. Use"
                f" reconstruct=true, or end channels with {classifier.channels}."
            )
        enters = (classifier.channels, *self.channels[:-1])
        trained = self.dictionary == "autograd"
        layers = [ConvLca(*pair, self.lca, trained=trained) for pair in zip(enters, self.channels, strict=True)]
        front_end = SparseFrontEnd(layers, self.reconstruct)
        classifier.add_module("front", front_end.to(ctx.device))  # the name stands in published state dicts
        # A hook leaves the paths of head and stages as they are; a bound method survives copying the classifier.
        classifier.body.register_forward_pre_hook(front_end.replace_input)
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Forget what the layers did in the last epoch."""
        _front_end(model).summaries = []

    def on_step_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Apply the Hebbian rule, or scale the filters that the optimiser moved to norm 1."""
        front_end = _front_end(model)
        for layer, u_BCHW, a_BFhw in front_end.seen:
            if self.dictionary == "hebbian":
                layer.hebbian_step(u_BCHW, a_BFhw, self.eta)
            elif self.dictionary == "autograd":
                layer.renormalise()
        front_end.seen = []

    def on_epoch_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Log what the layers did; here and not in a training step, so that other defenses may have theirs."""
        for index, means in enumerate(_front_end(model).means().tolist()):
            ctx.history[-1] |= {f"lca{index}_{name}": mean for name, mean in zip(SIGNALS, means, strict=True)}

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff in the last epoch each layer's code was sparse, not empty, and better than none."""
        last = ctx.history[-1] if ctx.history else {}
        rows = [[last.get(f"lca{i}_{name}", 0.0) for name in SIGNALS] for i in range(len(self.channels))]
        active = all(share > 0 and silenced >= SUPPRESSED and error < 1 for share, silenced, error in rows)
        say = "{:.2%} of coefficients non-zero, {:.1%} of positive potentials silenced, relative error {:.2f}"
        signals = {name: value for name, value in last.items() if name.startswith("lca")}
        return SelfCheck(active, signals, "; ".join(say.format(*row) for row in rows))


def _front_end(model: Classifier) -> SparseFrontEnd:
    return next(module for module in model.modules() if isinstance(module, SparseFrontEnd))
