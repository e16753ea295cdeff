from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.report.simulate import SPACE, SimulatedStudy, simulate
from tests.report.test_formats import HOSTILE
from tests.report.test_leaderboard import record, study
from tuner.paths import StudyPaths
from tuner.records import EpochResult, Json, TrialState
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import even_ticks
from tuner.report.figures.chart import Figure, Pictures
from tuner.report.figures.drawing import drawn
from tuner.report.page.data import curve_data, figure_data
from tuner.report.write import html_report
from tuner.store.study_data import StudyData


def page_data_of(text: str) -> Json:
    """What the script of a page reads."""
    found = re.search('<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert found
    return json.loads(found[1])


VOID = {"meta", "link", "input", "wbr", "br", "img", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page would fetch and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "data", "action", "srcset") and value:
                (self.links if value.startswith("#") else self.fetched).append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page_text(mixed: SimulatedStudy, tmp_path_factory: pytest.TempPathFactory) -> str:
    paths = StudyPaths(tmp_path_factory.mktemp("page") / "simulated")
    mixed.write_files(paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.report.figures.drawing.drawn", drawn)
        return html_report(Analysis(mixed.study, paths))


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_is_small(page_text: str) -> None:
    page = Page(page_text)
    assert [f for f in page.fetched if not f.startswith("data:")] == []
    assert "@import" not in page_text
    assert not re.search(r"url\((?!#)", page_text)
    assert len(page_text.encode()) < 2_000_000


@pytest.mark.slow
def test_every_reference_within_the_page_has_its_target_once(page_text: str) -> None:
    page = Page(page_text)
    assert len(page.ids) == len(set(page.ids))
    used = set(re.findall(r"url\(#([^)]+)\)", page_text))
    assert {link[1:] for link in page.links} | used <= set(page.ids)


def test_the_page_holds_what_it_promises(page_text: str) -> None:
    page = Page(page_text)
    assert {"verdict", "trials", "best", "search", "hyperparameters", "failures", "cost", "reproduce"} <= set(page.ids)
    text = " ".join(page.words)
    for phrase in ("Next:", "Finalists", "Would more trials help?", "Train against dev", "Trials per hour", "hash"):
        assert phrase in text
    figures = {figure["title"]: figure for figure in page_data_of(page_text)["figures"]}
    assert set(SPACE.names) <= set(figures)
    assert {figure["section"] for figure in figures.values()} == {"best", "mistakes", "search", "params"}


def test_the_table_is_whole_and_each_curve_is_there(page_text: str, mixed: SimulatedStudy) -> None:
    data = page_data_of(page_text)
    assert sorted(data["order"]) == data["trials"]["numbers"] == [r.number for r in mixed.study.records]
    assert data["ranked"] == len([r for r in mixed.study.records if r.state is TrialState.COMPLETE])
    assert {len(cells) for cells in data["trials"]["cells"]} == {len(data["columns"]) - 1}
    assert set(data["curves"]) == {str(r.number) for r in mixed.study.records}
    best = data["order"][0]
    assert data["trials"]["cells"][data["trials"]["numbers"].index(best)][:2] == [str(best), "0.9750"]


def test_a_long_curve_is_thinned_to_its_ends() -> None:
    curve = [EpochResult(epoch=n, train_loss=1 / n, dev_loss=math.nan, train_metric=0.5, dev_metric=n / 7,
                         learning_rate=0.1, seconds=1.0) for n in range(1, 1001)]  # fmt: skip
    short = curve_data(curve, points=30)
    assert len(short["epochs"]) <= 31
    assert short["epochs"][0] == 1
    assert short["epochs"][-1] == 1000
    assert short["dev"][-1] == 142.857
    assert set(short["dev_loss"]) == {None}
    assert "epochs" not in curve_data(curve), "they can be counted"


def test_pictures_are_put_into_the_page_as_they_are() -> None:
    pixels = [np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(36, dtype=np.uint8).reshape(3, 4, 3)]
    drawing = Pictures(pixels=pixels, titles=["a", "b\nrow 3"])
    figure = figure_data(Figure(name="worst", section="mistakes", title="", caption="", drawing=drawing))
    assert figure["drawing"]["titles"] == ["a", "b\nrow 3"]
    for source, image in zip(figure["drawing"]["sources"], pixels, strict=True):
        png = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert (np.asarray(Image.open(io.BytesIO(png))) == image).all()


@pytest.mark.parametrize(("low", "high", "ticks"), [
    (0.0, 0.3, [0.0, 0.1, 0.2, 0.3]), (1, 4, [1, 2, 3, 4]), (-1e6, 1e6, [-1e6, -5e5, 0, 5e5, 1e6]), (2, 2, [2]),
])  # fmt: skip
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert even_ticks(low, high, integer=low == 1) == pytest.approx(ticks)


@pytest.mark.slow
def test_hostile_text_stays_text() -> None:
    trials = tuple(
        replace(r, params={HOSTILE: r.params["learning_rate"], "$x^2$": 1.0 * r.number}, reason=HOSTILE, tier=HOSTILE)
        for r in simulate(trials=12, seed=0).study.records
    )
    failed = replace(record(50, 0.1, state=TrialState.FAILED), reason=HOSTILE)
    hostile = replace(
        study(*trials, failed), name=HOSTILE, facts={"sweep": {HOSTILE: HOSTILE}, "versions": {"a": HOSTILE}}
    )
    text = html_report(Analysis(hostile, None))
    Page(text)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "\x1b" not in text


def test_a_browser_runs_the_one_script_of_ours_and_no_other(page_text: str) -> None:
    policy = re.search('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page_text)
    script = re.search("<script>(.*)</script>", page_text, flags=re.DOTALL)
    assert page_text.count("<script") == 2, "the other one holds data, which no browser runs"
    assert policy
    assert script
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert not re.search(r"<[^>]* on\w+=|javascript:", page_text), "what the policy would forbid of our own"


@pytest.mark.deep
@pytest.mark.parametrize(
    "data",
    [
        study(),
        study(record(0, 0.5)),
        study(record(0, None, state=TrialState.RUNNING)),
        study(record(0, float("nan"), state=TrialState.FAILED)),
        study(*(record(i, 0.5) for i in range(12))),
        replace(simulate(trials=12, seed=0).study, metric="value", facts={}, space=None),
    ],
    ids=["empty", "one", "running", "failed", "equal", "foreign"],
)
def test_any_study_has_a_page(data: StudyData) -> None:
    Page(html_report(Analysis(data, None)))


@pytest.mark.slow
def test_a_metric_that_is_minimised_and_large_is_drawn_too() -> None:
    trials = tuple(
        replace(
            r, best=replace(r.best, dev_metric=1e6 * (1.1 - r.best.dev_metric), train_metric=1e5) if r.best else None
        )
        for r in simulate(trials=20, seed=0).study.records
    )
    data = replace(simulate(trials=20, seed=0).study, records=trials, metric="rmse", direction=study().direction)
    names = [plot.name for plot, _ in drawn(Analysis(data, None))]
    assert {"best_so_far", "importance", "param_learning_rate"} <= set(names)


@pytest.mark.slow
def test_every_kind_of_plot_is_drawn_for_a_full_study(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    names = {plot.name for plot, _ in drawn(Analysis(mixed.study, mixed_paths))}
    expected = {"ranking", "error_parts", "training_curves", "loss_curves", "finalists", "best_so_far", "more_trials"}
    expected |= {"confusion_dev", "calibration_dev", "train_dev_gap", "importance", "parallel_coordinates"}
    expected |= {*(f"param_{n}" for n in SPACE.names)}
    assert names == expected


@pytest.mark.deep
def test_on_paper_every_size_follows_from_one(mixed: SimulatedStudy) -> None:
    """Sizes are in rem, so print sets the root's; a size set on `body` would leave captions larger than the text."""
    _, _, paper = html_report(Analysis(mixed.study, None)).partition("@media print {")
    rules = paper.partition("\n}")[0]
    assert re.search(r"\n  html \{ font-size: \d+px; \}", rules)
    assert not re.search(r"\n  body \{[^}]*font-size: \d+px", rules)
