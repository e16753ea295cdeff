"""The page in a real browser: it is drawn without a complaint, and its table and figures act on each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.report.browser import Browser
from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.records import TrialState
from tuner.report.analysis import Analysis
from tuner.report.write import html_report

pytestmark = pytest.mark.deep


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
    browser.complaints.clear()
    browser.visit(address, width=width, height=9000, dark=dark)
    browser.until("[...page.charts.values()].every((chart) => !chart.draw || !chart.stale)")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.querySelectorAll('.chart canvas').length") >= 15
    assert browser.ask("document.querySelectorAll('#leaderboard tbody tr').length") == 40
    assert browser.complaints == []


def test_table_figures_and_panel_act_on_each_other(browser: Browser, address: str, mixed: SimulatedStudy) -> None:
    pruned = sum(record.state is TrialState.PRUNED for record in mixed.study.records)
    diverged = sum(record.state is TrialState.FAILED for record in mixed.study.records)
    browser.complaints.clear()
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
