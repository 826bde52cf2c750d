"""A plugin may end, crash, hang or litter the process that lists it: it is named, and the others are listed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mibench.api.errors import PluginError, UsageError
from mibench.registry import probe, verdicts
from mibench.registry.discovery import discover
from mibench.registry.registry import Registry

HEAD = "from mibench.api import DefenseSpec, hookimpl\n"
HOOK = "@hookimpl\ndef mibench_defenses():\n    "
SPEC = "yield DefenseSpec(name='odd', factory='{module}_d:Odd', summary='s')\n"
CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"
CHILD = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"

FATAL = {
    "os._exit": ("import os\nos._exit(0)", "import", "it ended the process with exit code 0 while it was imported"),
    "os._exit 7": ("import os\nos._exit(7)", "import", "it ended the process with exit code 7 while it was imported"),
    "crash": (CRASH, "import", "it crashed the process (SIGSEGV) while it was imported"),
    "crash with a child": (CHILD + CRASH, "import", "it crashed the process (SIGSEGV) while it was imported"),
    "hang": ("import time\ntime.sleep(60)", "import", "it did not come back within 1 s"),
    "loop": ("while True: pass", "import", "it did not come back within 1 s"),
    "chatter": ("import os\nwhile True: os.write(1, b'noise' * 99)", "import", "it did not come back within 1 s"),
    "asks": ("import threading\nthreading.Lock().acquire()\nthreading.Event().wait()", "import", "did not come back"),
    "exit in hook": (
        HEAD + "import os\n" + HOOK + "os._exit(3)",
        "collect",
        "exit code 3 while it was asked for its components",
    ),
    "endless hook": (
        HEAD + HOOK + "while True: pass\n    yield",
        "collect",
        "within 1 s (MIBENCH_PLUGIN_SECONDS) while it was asked",
    ),
    "slow generator": (
        HEAD + "import itertools, time\n" + HOOK + "for _ in itertools.count(): time.sleep(.01); yield",
        "collect",
        "did not come back within 1 s",
    ),
}


@pytest.fixture()
def looks(monkeypatch):
    """Count the processes that are started to look at plugins."""
    started = []
    real = subprocess.Popen

    def start(*arguments, **options):
        started.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(probe.subprocess, "Popen", start)
    return started


def of(registry, distribution="bad-dist"):
    return [failure for failure in registry.failures if failure.distribution == distribution]


@pytest.mark.parametrize("case", FATAL)
def test_a_plugin_that_would_take_mibench_down_is_named(case, good, install, monkeypatch):
    source, phase, reason = FATAL[case]
    if "back" in reason or "within" in reason:
        monkeypatch.setenv("MIBENCH_PLUGIN_SECONDS", "1")
    module = install("bad-dist", source)
    registry = Registry(discover())
    assert registry.component("defense", "good").__name__ == "Good"
    (failure,) = of(registry)
    assert (failure.version, failure.phase, failure.entry_point) == ("1.0", phase, f"plugin = {module}")
    assert reason in failure.reason
    assert failure.file.endswith(f"{module}.py")
    assert module not in sys.modules
    with pytest.raises(PluginError, match=r"bad-dist 1\.0: was tried in a process of its own"):
        registry.get("defense", "bad")


def test_each_of_several_fatal_plugins_is_named(good, install, monkeypatch):
    monkeypatch.setenv("MIBENCH_PLUGIN_SECONDS", "1")
    for name, case in (("a-dist", "os._exit"), ("b-dist", "crash"), ("z-dist", "loop")):
        install(name, FATAL[case][0])
    registry = Registry(discover())
    assert [f.distribution for f in registry.failures] == ["a-dist", "b-dist", "z-dist"]
    assert registry.get("defense", "good")


def test_no_process_of_a_plugin_outlives_the_look(install, tmp_path):
    place = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(place)!r}).write_text(str(os.getpid())); time.sleep(60)"
    install(
        "bad-dist",
        f"import pathlib, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {code!r}])\n"
        f"while not pathlib.Path({str(place)!r}).exists(): time.sleep(.01)\n"
        "time.sleep(.1)\nimport os; os._exit(1)\n",
    )
    discover()
    stat = Path(f"/proc/{place.read_text()}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


def test_a_verdict_is_remembered_until_a_file_changes(good, install, site, looks):
    module = install("bad-dist", "import os\nos._exit(1)")
    for _ in range(2):
        assert len(of(Registry(discover()))) == 1
    assert len(looks) <= 2  # one that died, one for what was left
    before = len(looks)
    (site / f"{module}.py").write_text("pass  # mended\n")
    for _ in range(2):
        assert of(Registry(discover())) == []
    assert len(looks) == before + 1


def test_a_dependency_that_changes_is_a_reason_to_look_again(install, site, looks):
    module = install("odd-dist", "import {module}_helper", helper="pass")
    assert of(Registry(discover()), "odd-dist") == []
    for name in [name for name in sys.modules if name.startswith(module)]:
        del sys.modules[name]
    before = len(looks)
    (site / f"{module}_helper.py").write_text("import os\nos._exit(4)\n")
    (failure,) = of(Registry(discover()), "odd-dist")
    assert "exit code 4" in failure.reason
    assert len(looks) > before


def test_a_refusal_is_forgotten_after_an_hour_and_by_the_doctor(install, looks, monkeypatch):
    install("bad-dist", "import os\nos._exit(1)")
    discover()
    seen = len(looks)
    verdicts.forget_refusals()
    discover()
    assert len(looks) == seen + 1
    real = time.time
    monkeypatch.setattr(verdicts.time, "time", lambda: real() + verdicts.BAD_FOR_S + 1)
    discover()
    assert len(looks) == seen + 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"heavy": 3}', '{"files": {}, "missing": [1]}'])
def test_a_damaged_memory_is_only_forgotten(damage, good, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    discover()
    places = list((tmp_path / "mibench" / "plugins").glob("*.json"))
    assert places
    for place in places:
        place.write_text(damage)
    assert Registry(discover()).get("defense", "good")
    assert all(json.loads(place.read_text())["files"] for place in places)


def test_without_a_place_to_remember_the_look_is_taken_each_time(good, install, monkeypatch, tmp_path, looks):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    install("bad-dist", "import os\nos._exit(1)")
    for _ in range(2):
        registry = Registry(discover())
        assert registry.get("defense", "good")
        assert len(of(registry)) == 1
    assert len(looks) == 4


def test_without_a_home_nothing_is_remembered(good, monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(verdicts.Path, "home", none)
    assert Registry(discover()).get("defense", "good")
    verdicts.forget_refusals()


def test_where_no_process_can_be_started_plugins_are_loaded_as_they_are(good, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(probe.sys, "executable", str(tmp_path / "nothing"))
    assert Registry(discover()).get("defense", "good")


def test_heavy_slow_and_loud_plugins_are_remarked_on(install, site):
    for name in ("torch", "pandas"):
        (site / f"{name}.py").write_text("")
    install("heavy-dist", "import torch, pandas")
    install("loud-dist", "import os\nos.write(1, b'noise')\nprint('noise')")
    install("loud-hook-dist", HEAD + HOOK + "print('noise')\n    return []")
    install("next-heavy-dist", "import torch")
    install("slow-dist", "import time\ntime.sleep(1)")
    source = "import mibench.registry.registry as r; import json; from dataclasses import asdict; "
    code = source + "print('\\n' + json.dumps([[x.distribution, x.text] for x in r.load_registry().remarks]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    code = "import mibench.registry.remarks as m; m.SLOW_S = .9; " + code
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    *told, (slow, how) = json.loads(ended.stdout.splitlines()[-1])
    assert told == [
        ["heavy-dist", "imports torch, pandas to be listed; import it where it is used"],
        ["loud-dist", "writes to the terminal when it is listed"],
        ["loud-hook-dist", "writes to the terminal when it is listed"],
        ["next-heavy-dist", "imports torch to be listed; import it where it is used"],
    ]
    assert slow == "slow-dist"
    assert how.startswith("takes 1.")
    assert how.endswith(" s to be listed, which every command waits for")


def test_list_and_doctor_show_remarks(mibench_list):
    shown = mibench_list("list")
    assert "remarks (1)" in shown
    assert "imports torch to be listed" in shown
    assert json.loads(mibench_list("list", "--json"))["remarks"][0]["distribution"] == "heavy-dist"


@pytest.fixture()
def mibench_list(install, site):
    (site / "torch.py").write_text("")
    install("heavy-dist", "import torch")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}

    def call(*arguments):
        command = [sys.executable, "-m", "mibench", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return call


MISSING = {
    "no module": ("nowhere_at_all.d:Odd", {}, "there is no module 'nowhere_at_all'"),
    "no submodule": ("mibench.api.nowhere.d:Odd", {}, "there is no module 'mibench.api.nowhere'"),
    "no name": ("{module}_d:Odd", {"d": "class Even: pass"}, "has no 'Odd'"),
    "inner name": ("{module}_d:Odd", {"d": "class Even:\n    class Odd: pass\ndef f():\n    Odd = 1"}, "has no 'Odd'"),
    "no Python": ("{module}_d:Odd", {"d": "class Odd(:"}, "_d.py:1 is not Python"),
    "under a module": ("json.decoder.deep:Odd", {}, "there is no module 'json.decoder.deep'"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_factory_that_does_not_exist_is_told_before_it_is_needed(case, install):
    factory, others, reason = MISSING[case]
    install("bad-dist", HEAD + HOOK + SPEC.replace("{module}_d:Odd", factory), **others)
    (failure,) = of(Registry(discover()))
    assert (failure.phase, failure.kind, failure.names) == ("factory", "defense", ("odd",))
    assert reason in failure.reason
    assert "defense 'odd' cannot be used" in failure.reason


PRESENT = {
    "class": "class Odd: pass",
    "assigned": "Odd = type('Odd', (), {})",
    "imported": "from collections import OrderedDict as Odd",
    "in try": "try:\n    import nothing_here\nexcept ImportError:\n    class Odd: pass",
    "in with": "import contextlib\nwith contextlib.suppress(Exception):\n    Odd: type = int",
    "unpacked": "Even, (Odd, *rest) = int, (int, 1)",
    "lazy": "def __getattr__(name):\n    return int",
    "star": "from collections import *",
    "globals": "globals()['Odd'] = int",
    "setattr": "import sys\nsetattr(sys.modules[__name__], 'Odd', int)",
    "global": "def make():\n    global Odd\n    Odd = int\nmake()",
    "heavy and broken": "raise SystemExit\nclass Odd: pass",
}


@pytest.mark.parametrize("case", PRESENT)
def test_a_factory_that_may_exist_is_believed(case, site):
    from mibench.registry.factories import problem_of

    (site / "made_up.py").write_text(PRESENT[case])
    assert problem_of("made_up:Odd") == ""
    assert "made_up" not in sys.modules


def test_parents_that_find_their_modules_themselves_are_believed(site):
    from mibench.registry.factories import problem_of

    (site / "own_path").mkdir()
    (site / "own_path" / "__init__.py").write_text("__path__.append('/elsewhere')")
    assert problem_of("own_path.d:Odd") == ""


def test_all_that_is_installed_has_its_factories():
    registry = Registry(discover())
    assert registry.failures == []
    assert not [remark for remark in registry.remarks if "imports" in remark.text or "writes" in remark.text]


def test_a_limit_that_is_no_number_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for wrong in ("soon", "-1", "nan", "inf", "0"):
        monkeypatch.setenv("MIBENCH_PLUGIN_SECONDS", wrong)
        with pytest.raises(UsageError, match="MIBENCH_PLUGIN_SECONDS: expected a positive number"):
            discover()


def test_ctrl_c_ends_the_wait_for_a_plugin_and_the_plugin(install, site, tmp_path):
    module = install("bad-dist", "")
    (site / f"{module}.py").write_text(
        textwrap.dedent(f"""
            import os, pathlib, time
            pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
            time.sleep(60)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-m", "mibench", "list"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.split(b".")[0].strip() == b"Interrupted"
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int((tmp_path / "pid").read_text()), 0)
            time.sleep(0.05)


def test_people_are_told_what_is_waited_for(install, monkeypatch, caplog):
    monkeypatch.setattr(probe, "PATIENCE_S", 0.2)
    install("slow-dist", "import time\ntime.sleep(.6)")
    discover()
    assert caplog.messages == ["waiting up to 30 s for the plugin slow-dist while it was imported"]
