"""Let all tests import the shared builders that lie in this folder, e.g. ``from record_factory import make_record``.

Fixtures ``toy_registry`` and ``toy_run`` offer the components of ``fake_plugin``, which need milliseconds.
"""

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail.
settings.register_profile("mibench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mibench")
sys.path.insert(0, str(Path(__file__).parent))
# In the background or under nohup some signals are ignored, and a run leaves them alone, as it should. Tests, and the
# processes that they start, are about what happens where nobody ignores them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keep what is remembered of plugins that tests make up away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture()
def toy_registry():
    import fake_plugin

    return fake_plugin.registry()


@pytest.fixture()
def toy_run(toy_registry, tmp_path, monkeypatch):
    """Return ``toy_run(**fields of the request)``, which runs the protocol of the fake plugin in this process."""
    from mibench.protocol.request import Request
    from mibench.session.run import run

    monkeypatch.setenv("MIBENCH_THREADS", "1")

    def _run(registry=toy_registry, **fields):
        defaults = {
            "protocols": ("toy",),
            "defenses": ("plain",),
            "attacks": ("guess",),
            "device": "cpu",
            "store": tmp_path / "store",
            "output": tmp_path / "output",
        }
        return run(Request(**{**defaults, **fields}), registry)

    return _run
