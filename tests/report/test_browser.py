"""The page in a real browser: it is drawn without a complaint, and its table and figures act on each other."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Browser
from tests.report.simulate import SPACE, SimulatedStudy
from tests.report.test_live import end_badly, train
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialState
from tuner.report.analysis import Analysis
from tuner.report.write import html_report
from tuner.store.optuna_store import open_store

pytestmark = pytest.mark.deep


LINKS = "[...document.querySelectorAll('nav a:not([hidden])')].map((link) => link.hash).filter(Boolean)"
SECTIONS = (
    "[...document.querySelectorAll('main > section')].filter((part) => !part.hidden).map((part) => '#' + part.id)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser.open(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def address(mixed: SimulatedStudy, tmp_path_factory: pytest.TempPathFactory) -> str:
    paths = StudyPaths(tmp_path_factory.mktemp("page") / "simulated")
    mixed.write_files(paths)
    paths.report_html.write_text(html_report(Analysis(mixed.study, paths)))
    return paths.report_html.as_uri()


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1400, False)])
def test_the_page_is_drawn_at_any_width_without_a_complaint(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    browser.visit(address, width=width, height=9000, dark=dark)
    browser.until("[...page.charts.values()].every((chart) => !chart.draw || !chart.stale)")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.querySelectorAll('.chart canvas').length") >= 15
    assert browser.ask("document.querySelectorAll('#leaderboard tbody tr').length") == 40
    assert browser.ask(LINKS) == browser.ask(SECTIONS), "what a link leads to is there"
    assert "#failures" in browser.ask(LINKS)
    assert browser.complaints == []


def test_table_figures_and_panel_act_on_each_other(browser: Browser, address: str, mixed: SimulatedStudy) -> None:
    pruned = sum(record.state is TrialState.PRUNED for record in mixed.study.records)
    diverged = sum(record.state is TrialState.FAILED for record in mixed.study.records)
    browser.visit(address)
    browser.ask("document.getElementById('filter').value = 'pruned epoch'; 1")
    browser.ask("document.getElementById('filter').dispatchEvent(new Event('input')); 1")
    assert browser.ask("document.querySelectorAll('#leaderboard tbody tr').length") == pruned
    shown = "new Set(page.charts.get('param_momentum').hits.filter((hit) => !hit.line).map((hit) => hit.trial)).size"
    browser.ask(
        "scrollTo({ top: document.querySelector('[data-name=param_momentum]').offsetTop, behavior: 'instant' })"
    )
    browser.until("!page.charts.get('param_momentum').stale")
    assert browser.ask(shown) == pruned + diverged, "those that diverged are marked whatever is chosen"
    browser.ask("document.querySelector('#chosen button').click()")
    assert browser.ask("document.querySelectorAll('#leaderboard tbody tr').length") == 40

    browser.ask(
        "scrollTo({ top: document.querySelector('[data-name=parallel_coordinates]').offsetTop, behavior: 'instant' })"
    )
    browser.until("document.querySelectorAll('.brush .overlay').length > 0")
    box = "document.querySelector('.brush .overlay').getBoundingClientRect()"
    left, top, width = (browser.ask(f"{box}.{side}") for side in ("left", "top", "width"))
    browser.drag((left + 0.4 * width, top + 8), (left + 0.9 * width, top + 8))
    browser.until("page.filtered")
    found = browser.ask("page.points.values['at learning_rate'].filter((_, i) => page.visible[i])")
    assert 0 < len(found) < 40
    assert min(found) > 0.3

    browser.ask("scrollTo({ top: 0, behavior: 'instant' }); document.querySelector('#leaderboard tbody tr').click()")
    browser.until("!document.getElementById('detail').hidden && !page.charts.get('detail metric')?.stale")
    assert browser.ask("document.querySelectorAll('#detail .chart').length") == 2
    assert browser.ask("document.querySelector('#detail h2').textContent").startswith("Trial ")
    assert browser.complaints == []


@pytest.mark.parametrize("width", [400, 1400])
def test_the_live_page_follows_a_study_that_another_process_writes(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    """Two commands, as users start them: one writes, the other shows; Ctrl-C ends it without a word of alarm."""
    store = open_store(
        StudyPaths(tmp_path / "growing"), study="growing", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE
    )
    store.set("sweep", {"search": {"trials": 8}})
    store.start([(SPACE.from_units([0.1 * n] * len(SPACE)), 5, "all") for n in range(4)])
    for trial in (0, 1):
        train(store, trial, 0.7 + 0.1 * trial, to=5)
    command = [sys.executable, "-m", "tuner", "watch", "growing", "--results", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        browser.visit(address, width=width, height=9000)
        browser.until("page.charts.has('best_so_far')")
        browser.until("!document.querySelector('#verdict').textContent.includes('being worked out')")
        browser.ask("window.stayed = true")
        assert browser.ask("document.querySelector('#leaderboard tbody tr').dataset.trial") == "1"
        assert browser.ask("document.querySelector('#detail').hidden")
        assert browser.ask(LINKS) == browser.ask(SECTIONS), "what a link leads to is there"
        assert not {"#failures", "#mistakes"} & set(browser.ask(LINKS))

        end_badly(store, 2)
        browser.until(f"({LINKS}).includes('#failures')")
        train(store, 3, 0.9, to=5)
        store.close()
        browser.until("document.querySelector('#leaderboard tbody tr').dataset.trial === '3'")
        browser.until("document.querySelector('#verdict').textContent.includes('trial 3')")
        browser.until("[...page.charts.values()].every((chart) => !chart.draw || !chart.stale)")
        assert browser.ask("document.getElementById('now-tiles').textContent").count("4 of 8") == 1
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask("window.stayed"), "the page was not loaded anew"
        assert browser.complaints == []
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "no longer served\n")
