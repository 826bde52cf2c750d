"""Stage ``measure``: one metric on a target or on reconstructions, from evidence alone."""

from __future__ import annotations

import json

import torch

from mibench.api.classifier import Classifier
from mibench.api.images import from_uint8
from mibench.api.metric import Metric, MetricContext, MetricInputs
from mibench.api.precision import full_precision
from mibench.api.rng import seeded
from mibench.stages.at_size import at_size
from mibench.stages.classifier import load_classifier
from mibench.stages.context import StageContext
from mibench.stages.data import load_private
from mibench.stages.files import load_tensors
from mibench.stages.handover import rows

SEED = 0
"""Metrics are measured with one seed, so that differences between cells are not noise of the measurement."""


def run(ctx: StageContext) -> None:
    """Measure and save the measurements as JSON."""
    metric: Metric = ctx.component("metric", ctx.payload["metric"])
    evidence = _evidence(ctx, metric)
    with full_precision(), seeded(SEED, "network"):
        measured = metric.measure(evidence, MetricContext(SEED, ctx.device, ctx.progress))
        made = rows(measured, ctx.payload["metric"]["name"], evidence.num_classes)  # here: it may be a generator
    group = getattr(ctx.registry.get("metric", ctx.payload["metric"]["name"]).spec, "group", "leakage")
    text = json.dumps({"group": group, "measurements": made}, indent=1, sort_keys=True, allow_nan=False)
    (ctx.draft / "measurements.json").write_text(text + "\n", encoding="utf-8")


def _evidence(ctx: StageContext, metric: Metric) -> MetricInputs:
    data = load_private(ctx)
    needs = ctx.node.needs
    heldout = data.part(ctx.payload["part"])
    evidence = MetricInputs(
        num_classes=data.train.num_classes,
        heldout=heldout,
        gallery=data.train,
        images_NCHW=heldout.images(torch.arange(0)),
        labels_N=torch.zeros(0, dtype=torch.long),
        validation=data.val,
    )
    if "evidence" in needs:
        found = ctx.input("evidence")
        tensors = load_tensors(found.file("evidence.safetensors"))
        evidence.images_NCHW, evidence.labels_N = from_uint8(tensors["pixels"]), tensors["labels"]
        if found.stage == "reconstruct":
            evidence.failed = sorted(int(label) for label in found.json("ledger.json").get("failed", {}))
    if "target" in needs:
        evidence.target = _classifier(ctx, "target")
        if "image" in ctx.payload:
            evidence.target = at_size(evidence.target, ctx.payload["image"]["size"])
    if "evaluators" in metric.needs:
        roles = [role for role in needs if role.startswith("evaluator:")]
        evidence.evaluators = {role.partition(":")[2]: _classifier(ctx, role) for role in roles}
    if "embedder" in metric.needs:
        evidence.embedder = ctx.component("model", ctx.payload["embedder"])
    return evidence


def _classifier(ctx: StageContext, role: str) -> Classifier:
    return load_classifier(ctx.registry, ctx.input(role), ctx.device)
