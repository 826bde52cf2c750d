"""Stage ``measure``: one metric on a target or on reconstructions, from evidence alone."""

from __future__ import annotations

import torch

from mibench.api.classifier import Classifier
from mibench.api.data import TensorImages
from mibench.api.metric import IdentityGallery, Metric, MetricContext, MetricInputs
from mibench.api.precision import full_precision
from mibench.api.rng import seeded
from mibench.nodes.marks import Ref
from mibench.nodes.measure import MeasureFiles, MeasureInputs
from mibench.nodes.reconstruct import ReconstructFiles, ReconstructInputs
from mibench.stages.at_size import at_size
from mibench.stages.classifier import load_classifier
from mibench.stages.context import StageContext
from mibench.stages.data import are_portraits, load_images, load_private, load_truth
from mibench.stages.files import load_tensors
from mibench.stages.handover import rows

SEED = 0
"""Metrics are measured with one seed, so that differences between cells are not noise of the measurement."""


def run(ctx: StageContext[MeasureInputs]) -> None:
    """Measure and save the measurements as JSON."""
    metric: Metric = ctx.component("metric", ctx.inputs.metric)
    evidence = _evidence(ctx, metric)
    with full_precision(), seeded(SEED, "network"):
        measured = metric.measure(evidence, MetricContext(SEED, ctx.device, ctx.progress))
        made = rows(measured, ctx.inputs.metric.name, evidence.num_classes)  # here: it may be a generator
    group = getattr(ctx.registry.get("metric", ctx.inputs.metric.name).spec, "group", "leakage")
    MeasureFiles(ctx.draft).write(group, made)


def _evidence(ctx: StageContext[MeasureInputs], metric: Metric) -> MetricInputs:
    inputs = ctx.inputs
    data = load_private(ctx, inputs.private, inputs.split)
    heldout = data.split(inputs.split_name)
    evidence = MetricInputs(
        num_classes=data.train.num_classes,
        heldout=heldout,
        gallery=data.train,
        images_NCHW=heldout.images(torch.arange(0)),
        labels_N=torch.zeros(0, dtype=torch.long),
        validation=data.val,
    )
    if inputs.evidence:
        found = ctx.artifact(inputs.evidence)
        files = ReconstructFiles(found.path)
        images = files.read_evidence(load_tensors)
        evidence.judge(TensorImages(images.pixels, images.labels, evidence.num_classes))
        if found.stage == ReconstructInputs.stage:
            evidence.failed = files.failed()
    if inputs.target:
        evidence.target = _classifier(ctx, inputs.target)
        if inputs.image:
            evidence.target = at_size(evidence.target, inputs.image.size)
    if "evaluators" in metric.needs:
        evidence.evaluators = {name: _classifier(ctx, inputs.evaluators[name]) for name in sorted(inputs.evaluators)}
    if inputs.gallery:
        evidence.identities = _people(ctx, inputs.gallery)
    if "embedder" in metric.needs and inputs.embedder:
        evidence.embedder = ctx.component("model", inputs.embedder)
    return evidence


def _people(ctx: StageContext[MeasureInputs], gallery: Ref) -> IdentityGallery:
    """Return the people among whom the right one has to be found."""
    found, distractors = ctx.artifact(gallery), ctx.inputs.distractors
    portraits = are_portraits(found)
    private = load_images(found) if portraits else load_private(ctx, gallery, ctx.inputs.split).train
    if distractors is None:
        return IdentityGallery(private, truth=load_truth(found))
    others = ctx.artifact(distractors)
    return IdentityGallery(private, load_images(others), load_truth(found), load_truth(others))


def _classifier(ctx: StageContext[MeasureInputs], ref: Ref) -> Classifier:
    return load_classifier(ctx.components, ctx.artifact(ref), ctx.device)
