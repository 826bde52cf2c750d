"""What contracts share: the component under test, and the checks of its parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from unittest import SkipTest

from mibench.api import params
from mibench.api.errors import UsageError
from mibench.testing.checks import require
from mibench.testing.tiny_stages import TESTED
from mibench.testing.tiny_world import TinyWorld


class Contract:
    """What is tested, and where. Subclass the contract of a kind, not this one.

    Attributes:
        component: the component class under test.
        settings: parameters that differ from its defaults, as a user would give them; keep the test fast with them.
        world: where it is tested.
    """

    component: ClassVar[type]
    settings: ClassVar[Mapping[str, Any]] = {}
    world: ClassVar[TinyWorld] = TinyWorld()

    def make(self) -> Any:
        """Build the component from its settings."""
        return params.build(self.component, self.settings)

    def entry(self) -> dict[str, Any]:
        """Return how a protocol names the component under test, with all its parameters."""
        return {"name": TESTED, "params": params.canonical(self.make())}

    def require_files(self) -> None:
        """Skip a check while the component says that something is ``missing``."""
        missing = getattr(self.make(), "missing", None)
        lines = list(missing()) if missing else []
        if lines:
            raise SkipTest("; ".join(lines))


class ComponentContract(Contract):
    """Checks of a component's parameters. Subclass the contract of a kind, not this one."""

    def test_is_a_frozen_dataclass(self) -> None:
        """Parameters are one frozen dataclass, so that they can be a cache key."""
        require(dataclasses.is_dataclass(self.component), f"{self.component.__name__} is not a dataclass")
        frozen = vars(self.component)["__dataclass_params__"].frozen
        require(frozen, f"{self.component.__name__} is not frozen; use @dataclass(frozen=True, kw_only=True)")

    def test_parameters_are_documented(self) -> None:
        """Every parameter has a line under ``Attributes:`` in the docstring; ``mibench show`` prints it."""
        bare = [row.name for row in params.describe(self.component) if not row.doc]
        require(not bare, f"{self.component.__name__} does not document {', '.join(bare)} under 'Attributes:'")

    def test_parameters_round_trip(self) -> None:
        """Built, written as JSON and built again, a component is the same."""
        made = self.make()
        text = json.dumps(params.canonical(made), allow_nan=False)
        again: Any = params.build(self.component, json.loads(text))
        require(again == made, f"{made} came back from JSON as {again}")

    def test_presets_are_valid(self) -> None:
        """Every preset builds."""
        for settings in params.presets_of(self.component).values():
            params.build(self.component, settings)

    def test_unknown_parameter_is_refused(self) -> None:
        """A misspelt parameter is an error that suggests the right one."""
        names = [field.name for field in dataclasses.fields(self.component) if field.init]
        wrong = f"{names[0]}_" if names else "no_such_parameter"
        try:
            params.build(self.component, {wrong: 1})
        except UsageError as error:
            require(not names or "Did you mean" in str(error), f"no suggestion in: {error}")
        else:
            raise AssertionError(f"{self.component.__name__} accepted the unknown parameter {wrong!r}")
