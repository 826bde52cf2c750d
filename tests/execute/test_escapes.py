"""Components that end the program fail their own cell; a signal that arrives ends the run."""

import os
import signal
import sys
import threading

import pytest
from fake_plugin import parts

from mibench.api import PluginError
from mibench.execute.interrupts import watched_signals


def _quit(*_, **__):
    sys.exit(0)


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def _close(*_, **__):
    raise GeneratorExit


class Odd(BaseException):
    """Nobody's exception."""


def _odd(*_, **__):
    raise Odd("odd")


PLACES = [
    ("attack 'reader'", parts.Reader, "prepare", {"attacks": ("reader", "guess")}),
    ("attack 'reader'", parts.Reader, "reconstruct", {"attacks": ("reader", "guess")}),
    ("defense 'noisy'", parts.Noisy, "training_step", {"defenses": ("noisy",)}),
    ("metric 'light'", parts.Light, "measure", {}),
    (
        "prior 'guided'",
        parts.Guided,
        "trainer",
        {"attacks": ("picky", "guess"), "settings": {"picky.brings": "guided"}},
    ),
]


@pytest.mark.parametrize(("owner", "component", "method", "fields"), PLACES)
@pytest.mark.parametrize("escape", [_quit, _interrupt, _close, _odd])
def test_a_component_that_ends_the_program_fails_its_cell_alone(
    toy_run, monkeypatch, owner, component, method, fields, escape
):
    monkeypatch.setattr(component, method, escape)
    result = toy_run(**fields)
    status = [record.status for record in result.records]
    assert result.exit_code == 1
    assert result.report.is_file()
    assert "failed" in status
    assert ("done" in status) == (component is not parts.Light)  # which is in every cell
    errors = {record.failure.error for record in result.records if record.failure}
    assert all(error.startswith(f"{owner} tried to end the program instead of raising an error: ") for error in errors)
    assert any("test_escapes.py" in error for error in errors)


def test_a_dataset_that_ends_the_program_is_named(toy_run, monkeypatch):
    monkeypatch.setattr(parts.Blobs, "load", _quit)
    result = toy_run()
    assert result.exit_code == 1
    assert "dataset 'blobs' tried to end the program" in result.records[0].failure.error


@pytest.mark.parametrize("escape", [_quit, _interrupt, _close])
def test_a_component_that_ends_the_program_while_planning_is_a_broken_plugin(toy_run, monkeypatch, escape):
    monkeypatch.setattr(parts.Guess, "prior_choice", escape)
    with pytest.raises(PluginError, match=r"while the run was planned, a component tried to end .*test_escapes\.py"):
        toy_run()


def _ctrl_c(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("unreachable")


def _swallowed(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("not now") from None


def _held_back(self, evidence, ctx):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        return MEASURE(self, evidence, ctx)


MEASURE = parts.Light.measure


@pytest.mark.parametrize("pressed", [_ctrl_c, _swallowed, _held_back])
def test_ctrl_c_ends_the_run_whatever_a_component_makes_of_it(toy_run, monkeypatch, pressed):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(parts.Light, "measure", pressed)
    with pytest.raises(KeyboardInterrupt):
        toy_run()
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_of_other_handlers_still_reach_them():
    reached = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: reached.append(number))
    try:
        with watched_signals() as arrived:
            os.kill(os.getpid(), signal.SIGTERM)
            assert arrived() is None  # its handler did not want the program to end
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == [signal.SIGTERM]


def test_what_a_handler_raises_is_what_ends_the_run(toy_run, monkeypatch):
    def end(number, frame):
        raise Odd("terminated")

    def swallow(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Odd:
            sys.exit(0)

    monkeypatch.setattr(parts.Light, "measure", swallow)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Odd, match="terminated"):
            toy_run()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_watch_nothing():
    seen = []

    def watch():
        with watched_signals() as arrived:
            seen.append(arrived())

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [None]
