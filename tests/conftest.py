"""One thread for every test process, and the numeric environment of the workers, before torch is imported.

Tests with the mark `gpu` run on a pretended machine (`tests/pretend_cuda`) where there is no GPU.

It also tells which tests take over half a second of a processor and do not say so (`pytest.mark.slow` or `deep`).
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, settings

from tests.depth import at_depth
from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import torch  # noqa: E402

from tests.pretend_cuda import pretended  # noqa: E402
from tuner.report.figures.drawing import drawn  # noqa: E402
from tuner.sweep.baselines import wanted  # noqa: E402
from tuner.train.replay.native.library import library  # noqa: E402

torch.set_num_threads(1)
library(wait=True)  # or the first test's workers would have a compiler at work beside them

# No test fails because the machine is busy.
settings.register_profile(
    "untimed", deadline=None, max_examples=at_depth(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

UNMARKED_SECONDS = 0.5
"""Processor time above which a test carries a mark."""


@pytest.fixture(scope="session", autouse=True)
def signals_are_heeded_by_what_is_tested() -> None:
    """What `nohup` or a script's `make test &` ignores is meant for the tests: what they start inherits none of it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def pages_without_plots() -> Iterator[None]:
    """The plots of a small run's report are most of its work; who looks at them takes the fixture `drawings`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.report.figures.drawing.drawn", lambda analysis: iter(()))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_fork_server_for_all_sweeps() -> Iterator[None]:
    """The first sweep of a process starts it; it has what any of them wants, or each later worker would import that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.execute.fork_server._readers", lambda spec: ["pandas", "sklearn.datasets"])
        patch.setattr("tuner.execute.fork_server._optimizers", lambda spec: ["torch._dynamo"])
        yield


@pytest.fixture(scope="session", autouse=True)
def reports_by_the_run_itself() -> Iterator[None]:
    """A process of their own would import what they need once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.sweep.reports.APART", False)
        yield


@pytest.fixture(scope="session", autouse=True)
def sweeps_without_baselines() -> Iterator[None]:
    """They are one more process for each run, with imports of its own; who looks at them takes `with_baselines`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.sweep.baselines.wanted", lambda spec, facts: ())
        yield


@pytest.fixture
def with_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps with the baselines that their sweep file asks for."""
    monkeypatch.setattr("tuner.sweep.baselines.wanted", wanted)


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with plots."""
    monkeypatch.setattr("tuner.report.figures.drawing.drawn", drawn)


@pytest.fixture
def quick_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a process of its own (`best --verify`, `test`) begins as a fork, which has everything imported."""
    monkeypatch.setattr("tuner.execute.apart.START_METHOD", "fork")


def pytest_collection_finish() -> None:
    """Make ready for thousands of tests in one process.

    What is imported and collected is taken out of garbage collection, which would look through it over and over. And no
    bytecode is written from now on: tests change modules within a second, which Python would not see, and import on
    full disks, where Python 3.11 leaves files cut (CPython's issue 126606).
    """
    gc.collect()
    gc.freeze()
    sys.dont_write_bytecode = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores for `-n auto`: tests wait for processes of theirs. The quick ones do not."""
    return len(os.sched_getaffinity(0)) + (config.option.numprocesses == "auto")


@pytest.fixture(params=["cuda:0", pytest.param("cuda:1", marks=pytest.mark.deep)])
def gpu(request: pytest.FixtureRequest) -> str:
    """Each GPU of a machine of two: what holds on the first alone is a matter of which device is the current one."""
    device = str(request.param)
    if torch.cuda.is_available() and torch.cuda.device_count() <= int(device.removeprefix("cuda:")):
        pytest.skip(f"{device} is not there")
    return device


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    before = _processor_seconds()
    pretend = item.get_closest_marker("gpu") is not None and not torch.cuda.is_available()
    try:
        with pretended() if pretend else nullcontext():
            yield
    finally:
        item.user_properties.append(("processor_seconds", _processor_seconds() - before))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that grew slow, the slowest first."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    taken = {r.nodeid: dict(r.user_properties).get("processor_seconds", 0.0) for r in reports if r.when == "call"}
    marked = {r.nodeid for r in reports if {"slow", "deep"} & set(r.keywords)}
    grown = sorted(
        ((s, name) for name, s in taken.items() if s > UNMARKED_SECONDS and name not in marked), reverse=True
    )
    if grown:
        terminalreporter.section(f"over {UNMARKED_SECONDS:g} s of a processor, and not marked slow or deep")
        for seconds, name in grown:
            terminalreporter.line(f"{seconds:5.1f} s  {name}")


def _processor_seconds() -> float:
    """What this process and those of its children that have ended used."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
