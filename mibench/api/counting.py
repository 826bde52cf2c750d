"""Views of modules that count: the same weights and the same class, with some methods observed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)
Done = Callable[[Any], None]
Observe = Callable[..., Done | None]
"""Called with the arguments of a method before it runs; what it returns is called with the result."""


def counting_view(module: M, observers: Mapping[str, Observe], *, owner: object) -> M:
    """Return a view of a module whose methods are observed; of methods that call each other only the outermost.

    The view shares parameters, buffers and submodules with the module, which itself is not observed. It is an instance
    of the module's class, its copies are observed too, and a view of a view is observed by both.

    Args:
        module: what is looked at.
        observers: by name of the method.
        owner: on whose account; see :func:`owner_of`.
    """
    kind, gate = type(module), _Gate()
    metaclass: Any = type(kind)
    view = copy.copy(module)
    known = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "_counting_for": owner}
    methods = {name: gate.observed(getattr(kind, name), observe, skip=1) for name, observe in observers.items()}
    view.__class__ = metaclass(kind.__name__, (kind,), {**known, **methods})
    for name in observers.keys() & vars(view).keys():  # replaced on the instance, as a compiled method is
        vars(view)[name] = gate.observed(vars(view)[name], observers[name], skip=0)
    return view


def without_counting(module: M) -> M:
    """Return what is behind a view, and behind its views; a module that is no view is returned as it is."""
    while "_counting_for" in vars(type(module)):
        view = type(module)
        module = copy.copy(module)
        module.__class__ = view.__bases__[0]
        for name in vars(view).keys() & vars(module).keys():
            vars(module)[name] = getattr(vars(module)[name], "__wrapped__", vars(module)[name])
    return module


def owner_of(module: nn.Module) -> object | None:
    """Return on whose account a view counts; ``None`` for a module that is no view."""
    owner: object | None = vars(type(module)).get("_counting_for")
    return owner


class _Gate:
    """Lets an observer see the outermost of nested calls only."""

    def __init__(self) -> None:
        self.busy = False

    def observed(self, method: Callable[..., Any], observe: Observe, *, skip: int) -> Callable[..., Any]:
        """Return the method, observed without its first ``skip`` arguments."""

        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            if self.busy:
                return method(*arguments, **named)
            done = observe(*arguments[skip:], **named)
            self.busy = True
            try:
                result = method(*arguments, **named)
            finally:
                self.busy = False
            if done is not None:
                done(result)
            return result

        return call
