"""The plan of a study: one plan over all its arms, and which arm a cell belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mibench.api.errors import MibenchError, UsageError
from mibench.api.study import Arm, Design
from mibench.assemble.records import cell_ref
from mibench.plan.cells import Cell
from mibench.plan.facts import Facts
from mibench.plan.plan import Plan, PlannedNode
from mibench.plan.resolve import parse_choice
from mibench.protocol.load import LoadedProtocol, Variant
from mibench.protocol.request import DEFAULT_ATTACK, Request
from mibench.registry.registry import Registry
from mibench.session.run import plan_request
from mibench.store.store import default_root
from mibench.study.request import StudyRequest


@dataclass(frozen=True)
class StudyPlan:
    """What a study runs.

    Attributes:
        plan: all arms in one; a cell that several share is in it once.
        arms: names of the arms by key of a cell.
        left_out: arm and reason, of optional arms that cannot be planned.
    """

    plan: Plan
    arms: Mapping[str, tuple[str, ...]]
    left_out: tuple[tuple[str, str], ...] = field(default=())


def arm_request(arm: Arm, request: StudyRequest, loaded: LoadedProtocol, protocol: str, variant: Variant) -> Request:
    """Return an arm as the request of a run.

    Args:
        arm: the arm.
        request: of the study.
        loaded: its protocol.
        protocol: how to ask for the protocol.
        variant: of the protocol.
    """
    defense = arm.defense or loaded.protocol.undefended.name
    name = parse_choice(defense).name
    return Request(
        protocols=(protocol,),
        models=(request.model,) if request.model else (),
        defenses=(defense,),
        attacks=request.attacks or loaded.protocol.suite or (DEFAULT_ATTACK,),
        seeds=arm.seeds or request.seeds or loaded.protocol.seeds,
        settings={f"{name}.{key}": value for key, value in arm.params.items()},
        variant=variant,
        device=request.device,
        executor=request.executor,
        workers=request.workers,
        store=request.store,
        shipped=request.shipped,
    )


def plan_study(
    design: Design, request: StudyRequest, loaded: LoadedProtocol, protocol: str, variant: Variant, registry: Registry
) -> StudyPlan:
    """Plan all arms.

    Raises:
        UsageError: if an arm that is not optional cannot be planned, or no arm is left.
    """
    facts = Facts.beside(registry, request.store or default_root())
    plans: list[Plan] = []
    cells: dict[str, Cell] = {}
    arms: dict[str, tuple[str, ...]] = {}
    left_out: list[tuple[str, str]] = []
    for arm in design.arms:
        try:
            made = plan_request(arm_request(arm, request, loaded, protocol, variant), registry, facts)
        except MibenchError as error:
            if not arm.optional:
                raise UsageError(f"arm {arm.name!r} of the study {request.name}: {error}") from None
            left_out.append((arm.name, str(error)))
            continue
        plans.append(made)
        for cell in made.cells:
            key = cell_ref(cell).key
            cells.setdefault(key, cell)
            if _belongs(cell, arm):
                arms[key] = (*arms.get(key, ()), arm.name)
    if not plans:
        told = "; ".join(f"{name}: {reason}" for name, reason in left_out)
        raise UsageError(f"no arm of the study {request.name} can be run: {told}")
    nodes: dict[str, PlannedNode] = {node.key: node for plan in plans for node in plan.nodes}
    return StudyPlan(Plan(list(cells.values()), list(nodes.values()), plans[0].store), arms, tuple(left_out))


def _belongs(cell: Cell, arm: Arm) -> bool:
    """Tell whether a cell is of the arm itself; the undefended control runs with every arm."""
    return not arm.defense or cell.defense.requested == arm.defense
