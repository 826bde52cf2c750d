"""Model-inversion attacks of mibench, compositions of shared parts. Listing them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import AttackSpec, hookimpl

ATTACKS = (
    AttackSpec(
        name="ppa",
        factory="mibench_attacks.methods.ppa:PlugAndPlay",
        summary="Plug & Play Attack: search a public generator's latents under random crops",
        paper="ppa.bib",
    ),
    AttackSpec(
        name="map",
        factory="mibench_attacks.methods.map_inversion:MapInversion",
        summary="Maximum a posteriori: the most probable input of a class under a prior, over the prior's views",
        paper="map_inversion.bib",
    ),
    AttackSpec(
        name="if-gmi",
        factory="mibench_attacks.methods.if_gmi:IntermediateFeatures",
        summary="IF-GMI: PPA, then search the features between the blocks of the generator too",
        paper="if_gmi.bib",
    ),
    AttackSpec(
        name="ppdg-mi",
        factory="mibench_attacks.methods.ppdg_mi:PseudoPrivateTuning",
        summary="PPDG-MI: PPA in rounds, each class's generator tuned towards its best images in between",
        paper="ppdg_mi.bib",
    ),
    AttackSpec(
        name="ppdg-vanilla",
        factory="mibench_attacks.methods.ppdg_vanilla:PseudoPrivateVanilla",
        summary="PPDG-vanilla: GMI, KED-MI or PLG-MI in rounds, their GAN trained on with the best images in between",
        paper="ppdg_mi.bib",
    ),
    AttackSpec(
        name="gmi",
        factory="mibench_attacks.methods.gmi:GenerativeInversion",
        summary="Generative Model Inversion: descend in the noise of a GAN, kept real by its critic",
        paper="gmi.bib",
    ),
    AttackSpec(
        name="ked-mi",
        factory="mibench_attacks.methods.ked_mi:DistributionalInversion",
        summary="KED-MI: learn a Gaussian of noise per class, in a GAN trained on the target's labels",
        paper="ked_mi.bib",
    ),
    AttackSpec(
        name="lomma",
        factory="mibench_attacks.methods.lomma:Lomma",
        summary="GMI or KED-MI with a logit loss, averaged over the target and students distilled from it",
        paper="lomma.bib",
    ),
    AttackSpec(
        name="plg-mi",
        factory="mibench_attacks.methods.plg_mi:PseudoLabelGuided",
        summary="PLG-MI: search the noise of a conditional GAN that the target guided",
        paper="plg_mi.bib",
    ),
    AttackSpec(
        name="vmi",
        factory="mibench_attacks.methods.vmi:VariationalInversion",
        summary="Variational Model Inversion: fit normalising flows over latents to each class",
        paper="vmi.bib",
    ),
    AttackSpec(
        name="mirror",
        factory="mibench_attacks.methods.mirror:Mirror",
        summary="MIRROR: search style vectors inside a box of P-space",
        paper="mirror.bib",
    ),
    AttackSpec(
        name="deep-inversion",
        factory="mibench_attacks.methods.deep_inversion:DeepInversion",
        summary="DeepInversion: optimise pixels under the target's BatchNorm statistics, without a prior",
        paper="deep_inversion.bib",
    ),
    AttackSpec(
        name="diff-mi",
        factory="mibench_attacks.methods.diff_mi:DiffusionInversion",
        summary="Diff-MI: optimise pixels between a target-specific diffusion model and the target",
        paper="diff_mi.bib",
    ),
    AttackSpec(
        name="cma",
        factory="mibench_attacks.methods.cma:EvolutionStrategy",
        summary="Search a prior by an evolution strategy (CMA-ES), from scores alone and without gradients",
        paper="cma.bib",
        access="scores",
    ),
    AttackSpec(
        name="brep-mi",
        factory="mibench_attacks.methods.brep_mi:BoundaryRepulsion",
        summary="BREP-MI: walk away from the boundary of the class in a prior's noise, by labels alone",
        paper="brep_mi.bib",
        access="labels",
    ),
    AttackSpec(
        name="random-search",
        factory="mibench_attacks.methods.random_search:RandomSearch",
        summary="Control of cma: as many samples of the prior as that asks for, and no search",
        access="scores",
        baseline=True,
    ),
    AttackSpec(
        name="prior-random",
        factory="mibench_attacks.methods.baselines:PriorRandom",
        summary="Floor control: random samples of the prior, the target is never asked",
        access="labels",
        baseline=True,
    ),
    AttackSpec(
        name="prior-topconf",
        factory="mibench_attacks.methods.baselines:PriorTopConfidence",
        summary="Floor control: the prior's samples that the target likes best, not optimised",
        access="scores",
        baseline=True,
    ),
    AttackSpec(
        name="public-nearest",
        factory="mibench_attacks.methods.public_nearest:PublicNearest",
        summary="Floor control: the public photographs that the target likes best, of other people",
        access="scores",
        baseline=True,
    ),
)


@hookimpl
def mibench_attacks() -> Iterable[AttackSpec]:
    """Return the attacks and the baselines of this distribution."""
    return ATTACKS
