"""Privacy defenses of image classifiers for mibench: one file per defense.

Imported to list plugins, so nothing heavy here.
"""

from __future__ import annotations

from collections.abc import Iterable

from mibench.api import DefenseSpec, hookimpl

DEFENSES = (
    DefenseSpec(
        name="none",
        factory="mibench_defenses.methods.none:NoDefense",
        summary="Plain training: the undefended control beside every leakage number",
        family="none",
        limits=("It protects nothing: it is the control.",),
    ),
    DefenseSpec(
        name="at",
        factory="mibench_defenses.methods.at:AdversarialTraining",
        summary="Adversarial training: the positive control, robust, and expected by the AT-AT paper to leak more",
        paper="at.bib",
        family="adversarial",
        limits=(
            "A control, not a protection: the AT-AT paper expects robust networks to leak more.",
            "The radius must grow as images shrink; a small one does nothing at low resolution.",
        ),
    ),
    DefenseSpec(
        name="bido",
        factory="mibench_defenses.methods.bido:BiDO",
        summary="BiDO: activations depend little on the image and much on the label (HSIC or COCO)",
        paper="bido.bib",
        family="dependency",
        limits=(
            "The dependence is estimated per batch and not calibrated: lower is not more private.",
            "With a large lambda_x the network may learn nothing: read accuracy beside any leakage.",
            "The lambda_x of AT-AT's BiDO** is not public; the preset bido-star is our choice.",
        ),
    ),
    DefenseSpec(
        name="dp-sgd",
        factory="mibench_defenses.methods.dp_sgd:DpSgd",
        summary="DP-SGD: clipped gradients of single images, Gaussian noise, a privacy budget",
        paper="dp-sgd.bib",
        family="dp",
        limits=(
            "The budget is for one image; an identity with many images, and what they share, is protected far less.",
            "Sampling and noise follow from the seed: a budget holds only against those who do not know it.",
            "Logged losses and accuracies, and whatever another defense does with the images, are outside the budget.",
            "GroupNorm replaces BatchNorm, so the weights and statistics of pre-trained BatchNorm are lost.",
            "Networks with stochastic depth (EfficientNet, ConvNeXt, Swin) are refused.",
        ),
    ),
    DefenseSpec(
        name="feature-noise",
        factory="mibench_defenses.methods.feature_noise:FeatureNoise",
        summary="Gaussian or Laplace noise on the penultimate feature of the trained network",
        paper="feature-noise.bib",
        threat_model="black-box",
        family="output",
        limits=(
            "An attacker with the weights reads the feature before the noise.",
            "A fixed vector only shifts the logits of a linear head; fresh noise is averaged away by repeated queries.",
        ),
    ),
    DefenseSpec(
        name="loft",
        factory="mibench_defenses.methods.loft:LowRankFilter",
        summary="Low-rank feature filtering: a head of two thin linear layers with tanh between",
        paper="loft.bib",
        family="dependency",
        limits=(
            "The publication's rank, place of tanh and initialisation were not available; the defaults are our own.",
            "CALoR's confidence-adaptation loss is left out: its formula was not available.",
            "Training saturates tanh, which masks gradients: read robust accuracy and gradient attacks with care.",
            "Only the head is filtered; an attacker who reads earlier layers sees all features.",
        ),
    ),
    DefenseSpec(
        name="mid",
        factory="mibench_defenses.methods.mid:MutualInformationRegularisation",
        summary="Variational information bottleneck before the head: pay for every bit about the image",
        paper="mid.bib",
        family="dependency",
        limits=(
            "The weight of the divergence trades accuracy for privacy and must be tuned.",
            "With deployed=sample, as published, answers are random: gradients need averaging over passes.",
            "Only the head is noisy; an attacker who reads earlier layers sees all features.",
        ),
    ),
    DefenseSpec(
        name="midre",
        factory="mibench_defenses.methods.midre:RandomErasing",
        summary="Random erasing: a random rectangle of every training image is blanked out",
        paper="midre.bib",
        family="data",
        limits=(
            "Areas and fill of the presets are recalled from the paper, not verified.",
            "Each image is seen in full over enough epochs; nothing is hidden for good.",
        ),
    ),
    DefenseSpec(
        name="negls",
        factory="mibench_defenses.methods.negls:NegativeLabelSmoothing",
        summary="Negative label smoothing: push wrong-class probabilities to zero",
        paper="negls.bib",
        family="gradient",
        limits=(
            "The loss has no lower bound: margins explode and gradients of the cross-entropy vanish, so attacks and "
            "robust accuracy that rely on them may fail for want of gradients.",
            "The published schedule acts in the second half of training only.",
        ),
    ),
    DefenseSpec(
        name="purifier",
        factory="mibench_defenses.methods.purifier:Purifier",
        summary="An autoencoder purifies the confidences that are given out",
        paper="purifier.bib",
        threat_model="black-box",
        family="output",
        limits=(
            "An attacker with the weights attacks the network behind the purifier.",
            "Fitted on disturbed training images, where the papers use images that the network never saw.",
            "The papers' adversarial purifier and label swapper are left out.",
            "Loss weights and sizes are this implementation's own, not the papers'.",
        ),
    ),
    DefenseSpec(
        name="random-labels",
        factory="mibench_defenses.methods.random_labels:RandomLabels",
        summary="Permuted training labels: a control that can only memorise",
        paper="random-labels.bib",
        family="experiment",
        limits=(
            "Test accuracy falls to chance, so it is a control and not a defense to deploy.",
            "Attack accuracy and re-identification ask for the true person and mean nothing under permuted labels.",
        ),
    ),
    DefenseSpec(
        name="rolss",
        factory="mibench_defenses.methods.rolss:WeakSkips",
        summary="RoLSS, SSF and TTS: remove or scale the residual connections of a stage",
        paper="rolss.bib",
        family="gradient",
        limits=(
            "Networks without skip connections that it knows (VGG, Inception, small CNNs) are refused.",
            "Attacks are made harder by weaker gradients; one that needs no gradients may not notice.",
            "A pre-trained network does not work without its skips at first: fine-tuning needs care.",
            "The schedule of two-stage training (TTS) is not published; the preset's half is our choice.",
            "Released ResNet code also drops the last skips of stage 3: published numbers want a preset with compat.",
        ),
    ),
    DefenseSpec(
        name="sca",
        factory="mibench_defenses.methods.sca:SparseCoding",
        summary="Sparse coding architecture: the network sees what a sparse code keeps of the image",
        paper="sca.bib",
        family="dependency",
        limits=(
            "Published without attack accuracies: image similarity only.",
            "The dropout and BatchNorm between the published sparse layers are left out.",
            "Attackers pay for every iteration too: part of a lower leakage may be cost and masked gradients.",
            "Too small a time constant for the dictionary lets the code diverge; the self-check reports it.",
        ),
    ),
    DefenseSpec(
        name="smoothing",
        factory="mibench_defenses.methods.smoothing:Smoothing",
        summary="Randomised smoothing (robust privacy): answer with the average over noisy copies of the image",
        paper="smoothing.bib",
        threat_model="black-box",
        family="output",
        limits=(
            "An attacker with the weights attacks the network behind the average, or differentiates through it.",
            "Every query costs as many passes as there are copies; the ledger counts one.",
            "No certificate of robustness is computed.",
        ),
    ),
    DefenseSpec(
        name="tl-dmi",
        factory="mibench_defenses.methods.tl_dmi:TransferLearning",
        summary="Transfer learning: the first layers keep their public weights, only the later ones see private images",
        paper="tl-dmi.bib",
        family="dependency",
        limits=(
            "It needs public pre-training; with random first layers accuracy collapses.",
            "BatchNorm statistics of the frozen layers still follow private images, unless freeze_bn_stats is set.",
            "Beside a control that starts at random, pre-training and freezing change together.",
        ),
    ),
    DefenseSpec(
        name="trap-mid",
        factory="mibench_defenses.methods.trap_mid:TrapMid",
        summary="Trapdoor triggers per class that lead an inversion astray",
        paper="trap-mid.bib",
        family="deception",
        limits=(
            "Reconstructions carry triggers; an attacker who knows of them may filter them out.",
            "A training step costs about five plain ones, and triggers take memory of one image per class.",
        ),
    ),
    DefenseSpec(
        name="unseen-pixels",
        factory="mibench_defenses.methods.unseen_pixels:UnseenPixels",
        summary="A learnt mask: the network provably never reads most pixels",
        paper="unseen-pixels.bib",
        family="experiment",
        limits=(
            "The bound holds for unbiased estimators; an attack with an image prior may still guess unread pixels.",
            "In short trainings the mask may not reach its threshold, and nothing is removed.",
        ),
    ),
)


@hookimpl
def mibench_defenses() -> Iterable[DefenseSpec]:
    """Return the defenses of this distribution."""
    return DEFENSES
