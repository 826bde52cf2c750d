"""Discovery of plugins, each isolated from the others."""

from mibench.registry.failures import PluginFailure
from mibench.registry.registered import Registered
from mibench.registry.registry import Registry, load_registry

__all__ = ["PluginFailure", "Registered", "Registry", "load_registry"]
