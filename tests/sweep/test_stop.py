"""Signals and time limits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest

from tuner.execute.signals import ENDING
from tuner.sweep.stop import ECHO_SECONDS, StopRequest


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_in_training_asks_and_the_second_ends_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, now = StopRequest(), 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with stop.on_signals(), stop.training():
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.signal == number
        now += ECHO_SECONDS
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number


@pytest.mark.parametrize("number", ENDING)
def test_one_that_a_scheduler_and_a_script_both_send_is_one_but_from_a_keyboard_it_is_meant_twice(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopRequest()
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    with stop.on_signals():
        with stop.training():
            os.kill(os.getpid(), number)
            if number != signal.SIGINT:
                os.kill(os.getpid(), number)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.signal == number


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_at_once_while_there_is_nothing_to_save(number: signal.Signals) -> None:
    stop = StopRequest()
    with stop.on_signals():
        with stop.training():
            pass
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
    assert not stop.requested


def test_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with StopRequest().on_signals():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_a_hangup_that_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest().on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_child_heeds_signals_as_usual() -> None:
    with StopRequest().on_signals():
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        child.terminate()
        child.join(30)
        ended = child.exitcode
        child.kill()
    assert ended == -signal.SIGTERM


def test_other_threads_may_run_sweeps_without_signals() -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with StopRequest().on_signals():
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures


def test_the_time_limit_asks_to_stop() -> None:
    stop = StopRequest()
    with stop.after(0.01):
        deadline = time.monotonic() + 120
        while not stop.requested and time.monotonic() < deadline:
            time.sleep(0.01)
    assert stop.out_of_time
    assert stop.signal is None


def test_a_time_limit_that_is_not_reached_is_forgotten() -> None:
    stop = StopRequest()
    before = set(threading.enumerate())
    with stop.after(3600):
        (timer,) = set(threading.enumerate()) - before
    timer.join(60)
    assert not timer.is_alive()
    with stop.after(None):
        assert set(threading.enumerate()) <= before
    assert not stop.requested
