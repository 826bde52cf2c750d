"""A whole audit: it finds what ``run`` finds on the same weights, and says so to people."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mibench.api.errors import UsageError
from mibench.audit.prepare import prepare
from mibench.audit.request import AuditRequest
from mibench.audit.run import audit
from mibench.nodes.classifier import ClassifierFiles
from mibench.protocol.request import Request
from mibench.registry.registry import load_registry
from mibench.results.flags import FOREIGN
from mibench.results.io import load_record
from mibench.session.run import plan_request, run
from mibench.stages.files import save_tensors
from mibench.store.store import Store


@pytest.fixture(scope="module")
def registry() -> Any:
    return load_registry()


def performed(world: Any, registry: Any, **changes: Any) -> Any:
    return audit(prepare(AuditRequest(**world.options(**changes)), registry), registry)


def numbers(record: Any) -> dict[str, Any]:
    groups = {"": record.metrics, **record.controls}
    return {
        f"{group}/{name}": (metric.value, metric.per_class, metric.details)
        for group, metrics in groups.items()
        for name, metric in metrics.items()
    }


def test_it_finds_what_run_finds_on_the_same_weights(world: Any, registry: Any, tmp_path: Path) -> None:
    """``run`` is given the same weights as if it had trained them itself: as the artifact of its own target."""
    result = performed(world, registry)
    text = (tmp_path / "audit" / "protocol.yaml").read_text(encoding="utf-8")
    trained = tmp_path / "trained-here.yaml"
    trained.write_text(text, encoding="utf-8")
    request = Request(
        protocols=(str(trained),),
        models=("foreign-fresh",),
        attacks=("ppa", "cma", "brep-mi"),
        device="cpu",
        store=tmp_path / "other-store",
        output=tmp_path / "run",
    )
    plan = plan_request(request, registry)
    target = plan.cells[0].target
    store = Store(tmp_path / "other-store")
    with store.commit(target.stage, target.key, target.payload, {"inputs": {}}) as draft:
        files = ClassifierFiles(draft)
        state = {f"body.net.{name}": value for name, value in load_file(world.weights).items()}
        save_tensors(files.weights, state)
        save_tensors(files.extras, {})
        files.write_report({"history": [], "self_check": {"active": True, "signals": {}, "reason": ""}})
    expected = run(request, registry, plan_request(request, registry))
    assert [record.status for record in expected.records] == ["done"] * 3
    assert len(result.run.records) == 3
    for ours, theirs in zip(result.run.records, expected.records, strict=True):
        assert ours.cell.attack == theirs.cell.attack
        assert numbers(ours) == numbers(theirs)
        assert ours.ledger == theirs.ledger


def test_an_audit_leaves_protocol_records_and_reports(world: Any, registry: Any, tmp_path: Path) -> None:
    result = performed(world, registry, twin="same")
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "audit").iterdir()} >= {"protocol.yaml", "audit.html", "audit.json"}
    document = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(result.document))
    assert document["people"] == {"private": [f"private {k}" for k in range(6)], "public": 8}
    assert {one["attack"] for one in [*document["attacks"], *document["failed"]]} == {"ppa", "cma", "brep-mi"}
    assert document["twin"]["model"] == "foreign-fresh"
    assert all(one["recognised_in_twin"] is not None for one in document["attacks"])
    assert document["accuracy"] == held_out_accuracy(world)
    for path in document["records"]:
        record = load_record(Path(path))
        assert (FOREIGN in {flag.id for flag in record.flags}) == (record.cell.model == "foreign")
    assert all(why for why in result.run.refusals)  # no board takes any of them
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    Checked().feed(page)
    assert "private 0" in page
    assert document["verdict"].split(":")[0] in page


def held_out_accuracy(world: Any) -> float:
    net, (x_NCHW, y_N) = world.network(), world.photographs("heldout")
    net.load_state_dict(load_file(world.weights))
    with torch.no_grad():
        return float((net.eval()((x_NCHW - 0.5) / 0.25).argmax(1) == y_N).float().mean())


class Checked(HTMLParser):
    """Refuses tags that are not closed in order."""

    VOID = ("meta", "img", "line", "rect", "path", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_same_audit_again_computes_nothing(world: Any, registry: Any) -> None:
    performed(world, registry)
    again = prepare(AuditRequest(**world.options()), registry)
    assert again.plan.to_run == []
    with pytest.raises(UsageError, match="holds another audit: it differs in model"):
        prepare(AuditRequest(**world.options(mean=(0.45,))), registry)


def test_what_the_attacker_sees_chooses_the_attacks(world: Any, registry: Any, tmp_path: Path) -> None:
    def chosen(access: str) -> set[str]:
        ready = prepared(world, registry, access=access, output=tmp_path / access)
        return {cell.attack.name for cell in ready.plan.cells}

    assert chosen("white-box") == {"ppa", "cma", "brep-mi"}
    assert chosen("scores") == {"cma", "brep-mi"}
    assert chosen("labels") == {"brep-mi"}
    with pytest.raises(UsageError, match="the attack 'ppa' needs white-box access; the audit grants scores"):
        prepared(world, registry, access="scores", attacks=("ppa",))


def prepared(world: Any, registry: Any, **changes: Any) -> Any:
    return prepare(AuditRequest(**world.options(**changes)), registry)


def test_a_network_in_a_file_is_attacked_too(world: Any, registry: Any, tmp_path: Path) -> None:
    net = world.network()
    net.load_state_dict(load_file(world.weights))
    path = tmp_path / "whole.pt2"
    dynamic = ({0: torch.export.Dim("batch", min=1, max=1024)},)
    torch.export.save(torch.export.export(net.eval(), (torch.rand(4, 3, 32, 32),), dynamic_shapes=dynamic), path)
    whole = performed(world, registry, model=str(path), weights=None, output=tmp_path / "whole", attacks=("ppa",))
    parts = performed(world, registry, output=tmp_path / "parts", attacks=("ppa",))
    for ours, theirs in zip(whole.findings.attacks, parts.findings.attacks, strict=True):
        assert ours.share.per_class == theirs.share.per_class
    with pytest.raises(UsageError, match="holds a network whole cannot be trained afresh"):
        prepared(world, registry, model=str(path), weights=None, twin="same", output=tmp_path / "twin")


def test_a_defense_is_refused_on_a_network_that_comes_trained(world: Any, registry: Any, tmp_path: Path) -> None:
    ready = prepared(world, registry)
    request = Request(protocols=(str(ready.protocol),), defenses=("atat",), device="cpu", store=tmp_path / "store")
    with pytest.raises(UsageError, match="the model 'foreign' comes trained, so the defense 'atat' has nothing"):
        plan_request(request, registry)
    fresh = request.model_copy(update={"models": ("foreign-fresh",)})
    assert {cell.model.name for cell in plan_request(fresh, registry).cells} == {"foreign-fresh"}
