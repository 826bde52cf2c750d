"""Model-inversion attacks of mibench, compositions of shared parts. Listing them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mibench.api import AttackSpec, hookimpl

WHITE_BOX = (
    # name, class, paper, summary
    ("ppa", "ppa:PlugAndPlay", "ppa.bib",
     "Plug & Play Attack: search a public generator's latents under random crops"),
    ("if-gmi", "if_gmi:IntermediateFeatures", "if_gmi.bib",
     "IF-GMI: PPA, then search the features between the blocks of the generator too"),
    ("ppdg-mi", "ppdg_mi:PseudoPrivateTuning", "ppdg_mi.bib",
     "PPDG-MI: PPA in rounds, each class's generator tuned towards its best images in between"),
    ("ppdg-vanilla", "ppdg_vanilla:PseudoPrivateVanilla", "ppdg_mi.bib",
     "PPDG-vanilla: GMI, KED-MI or PLG-MI in rounds, their GAN trained on with the best images in between"),
    ("gmi", "gmi:GenerativeInversion", "gmi.bib",
     "Generative Model Inversion: descend in the noise of a GAN, kept real by its critic"),
    ("ked-mi", "ked_mi:DistributionalInversion", "ked_mi.bib",
     "KED-MI: learn a Gaussian of noise per class, in a GAN trained on the target's labels"),
    ("lomma", "lomma:Lomma", "lomma.bib",
     "GMI or KED-MI with a logit loss, averaged over the target and students distilled from it"),
    ("plg-mi", "plg_mi:PseudoLabelGuided", "plg_mi.bib",
     "PLG-MI: search the noise of a conditional GAN that the target guided"),
    ("vmi", "vmi:VariationalInversion", "vmi.bib",
     "Variational Model Inversion: fit normalising flows over latents to each class"),
    ("mirror", "mirror:Mirror", "mirror.bib",
     "MIRROR: search style vectors inside a box of P-space"),
    ("deep-inversion", "deep_inversion:DeepInversion", "deep_inversion.bib",
     "DeepInversion: optimise pixels under the target's BatchNorm statistics, without a prior"),
    ("diff-mi", "diff_mi:DiffusionInversion", "diff_mi.bib",
     "Diff-MI: optimise pixels between a target-specific diffusion model and the target"),
)  # fmt: skip
BASELINES: tuple[tuple[str, str, Literal["scores", "labels"], str], ...] = (
    # name, class, access, summary
    ("prior-random", "baselines:PriorRandom", "labels",
     "Floor control: random samples of the prior, the target is never asked"),
    ("prior-topconf", "baselines:PriorTopConfidence", "scores",
     "Floor control: the prior's samples that the target likes best, not optimised"),
    ("public-nearest", "public_nearest:PublicNearest", "scores",
     "Floor control: the public photographs that the target likes best, of other people"),
)  # fmt: skip


@hookimpl
def mibench_attacks() -> Iterator[AttackSpec]:
    """Describe the attacks and the baselines of this distribution."""
    for name, factory, paper, summary in WHITE_BOX:
        yield AttackSpec(name=name, factory=f"mibench_attacks.methods.{factory}", summary=summary, paper=paper)
    for name, factory, access, summary in BASELINES:
        yield AttackSpec(
            name=name, factory=f"mibench_attacks.methods.{factory}", summary=summary, access=access, baseline=True
        )
