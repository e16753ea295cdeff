"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from tuner.records import Direction, Json, TrialState
from tuner.report.analysis import Analysis
from tuner.report.page.best import baseline_rows, finalist_rows, front_table, learning_curve_rows, mistake_tables
from tuner.report.page.data import as_script, page_data
from tuner.report.page.table import TABLE_NOTE
from tuner.report.space import completed
from tuner.report.summary import Summary, summarise
from tuner.report.words.escape import visible
from tuner.report.words.numbers import (
    count_text,
    difference_text,
    duration_text,
    metric_text,
    number_of,
)
from tuner.report.words.shell import shell_command
from tuner.store.notes import notes_in_words

_SECTIONS = (
    ("best", "The best trials"),
    ("mistakes", "What the best trial gets wrong"),
    ("search", "The search"),
    ("params", "Hyperparameters"),
)


_SCRIPTS = ("charts.js", "parallel.js", "page.js", "table.js", "live.js")


_END = "</main>"
"""Of what is worked out; behind it are the places that the script fills."""


def render_page(analysis: Analysis) -> str:
    """The HTML document of a study, with everything that it shows."""
    return _page(_context(analysis), data=page_data(analysis), is_live=False)


def render_live_page(analysis: Analysis, *, data: Mapping[str, Json], sections: str) -> str:
    """The document that follows a study.

    Args:
        analysis: Of the study.
        data: What its script begins with.
        sections: What `render_sections` gave; if it is empty, the page says that it is being worked out.
    """
    page = _page(_blank(analysis), data=data, is_live=True)
    return sections + page[page.index(_END) :] if sections else page


def render_sections(analysis: Analysis) -> str:
    """The document that follows a study, as far as the end of what is worked out."""
    page = _page(_context(analysis), data={}, is_live=True)
    return page[: page.index(_END)]


def render_waiting(study: str) -> str:
    """The page of a study that has not begun; it asks for itself again."""
    return _environment().get_template("waiting.html.j2").render(study=study)


def render_studies(studies: Mapping[str, tuple[str, Mapping[str, Json] | None]]) -> str:
    """The list of studies of the live page: by address the name of each, and how it stands (None: not begun)."""
    script = (files("tuner.report") / "templates" / "watch.js").read_text(encoding="utf-8")
    template = _environment().get_template("watch.html.j2")
    return template.render(studies=studies, script=Markup(script), script_hash=_hash(script))


def _page(context: Mapping[str, Any], *, data: Mapping[str, Json], is_live: bool) -> str:
    # Style and script are files of ours, put in as they are; the browser runs the one script that has this hash.
    script = _script()
    template = _environment().get_template("report.html.j2")
    return template.render(
        page=context, live=is_live, data=Markup(as_script(data)), script=Markup(script), script_hash=_hash(script)
    )


def _hash(script: str) -> Markup:
    return Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tuner.report"),
        autoescape=select_autoescape(enabled_extensions=("html", "j2"), default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )


@cache
def _script() -> str:
    """d3 with its licence, and our own."""
    folder = files("tuner.report") / "templates"
    licence = (folder / "d3" / "LICENSE.txt").read_text(encoding="utf-8")
    library = (folder / "d3" / "d3.min.js").read_text(encoding="utf-8")
    own = "".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return f"/*\n{licence}*/\n{library}\n{own}start();\n"


def _printable(value: Any) -> Any:
    """Text without control characters, save for its line breaks."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(visible, value.split("\n")))


def _blank(analysis: Analysis) -> dict[str, Any]:
    """A page of which nothing has been worked out yet."""
    lists = ("tiles", "mistakes", "finalists", "baselines", "learning_curve", "failures", "cost", "versions")
    return {
        **dict.fromkeys(lists, ()),
        "study": analysis.study.name,
        "metric_text": f"dev {analysis.study.metric}",
        "states": number_of(len(analysis.study.records), "trial"),
        "table_note": TABLE_NOTE,
        "sections": _sections(),
    }


def _sections() -> list[dict[str, str]]:
    return [
        {"id": "hyperparameters" if key == "params" else key, "key": key, "title": title} for key, title in _SECTIONS
    ]


def _context(analysis: Analysis) -> dict[str, Any]:
    study, summary = analysis.study, summarise(analysis)
    better = "larger is better" if study.direction is Direction.MAXIMIZE else "smaller is better"
    states = ", ".join(f"{count} {state}" for state, count in sorted(analysis.cost.states.items()))
    return {
        "study": study.name,
        "states": f"{number_of(len(study.records), 'trial')} ({states})" if study.records else "no trials",
        "metric_text": f"dev {study.metric}, {better}",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "summary": summary,
        "groups": _groups(summary),
        "tiles": list(_tiles(analysis)),
        "table_note": TABLE_NOTE,
        "sections": _sections(),
        "mistakes": list(mistake_tables(analysis)),
        "finalists": list(finalist_rows(analysis)),
        "front": front_table(analysis),
        "baselines": list(baseline_rows(analysis)),
        "learning_curve": list(learning_curve_rows(analysis)),
        "failures": _failures(analysis),
        "cost": list(_cost(analysis)),
        "choice": _choice(analysis),
        "commands": _commands(analysis),
        "versions": list(_versions(analysis)),
        "packages": ", ".join(f"{k} {v}" for k, v in (study.facts.get("packages") or {}).items()),
        "note": notes_in_words(study.notes).get(None, ""),
        "sweep": _pretty(study.facts.get("sweep")),
    }


def _groups(summary: Summary) -> list[tuple[str, tuple[str, ...]]]:
    return [
        ("Test set", summary.test),
        ("How sure is that?", summary.certainty),
        ("The search space", summary.advice),
        ("Beware", summary.warnings),
    ]


def _tiles(analysis: Analysis) -> Iterable[dict[str, str]]:
    study, statistics, best = analysis.study, analysis.statistics, analysis.best
    if best is None:
        return
    interval = statistics.intervals.get(best.number)
    low_high = [metric_text(v, metric=study.metric) for v in (interval.low, interval.high)] if interval else []
    yield {
        "name": f"Best dev {study.metric}",
        "value": metric_text(best.value, metric=study.metric),
        "note": f"trial {best.number}" + (f", {low_high[0]} to {low_high[1]}" if low_high else ""),
    }
    if statistics.overstatement is not None:
        yield {
            "name": "Probably overstated by",
            "value": difference_text(statistics.overstatement, metric=study.metric),
            "note": "estimate from the noise of the dev set",
        }
    if analysis.finals is not None:
        winner = analysis.finals.winner
        yield {
            "name": "On fresh seeds",
            "value": metric_text(winner.mean, metric=study.metric),
            "note": f"trial {winner.record.number}, mean of {len(winner.values)}",
        }
    if statistics.ties:
        yield {
            "name": "Cannot be told from the best",
            "value": f"{len(statistics.ties)} of {len(statistics.ranked)}",
            "note": "finished trials",
        }
    smallest = statistics.smallest
    if smallest is not None and smallest.num_parameters:
        yield {
            "name": "Smallest as good",
            "value": f"trial {smallest.number}",
            "note": f"{count_text(smallest.num_parameters)} parameters, "
            f"{metric_text(smallest.value, metric=study.metric)}",
        }


def _failures(analysis: Analysis) -> list[dict[str, object]]:
    """Failed trials by reason, the most frequent first."""
    numbers: dict[str, list[int]] = {}
    for record in analysis.apart:
        if record.state is TrialState.FAILED:
            # Figures differ from trial to trial: the words before the colon are the reason.
            numbers.setdefault(record.reason.partition(":")[0] or "unknown", []).append(record.number)
    details = {r.number: r.reason for r in analysis.apart}
    return [
        {
            "count": len(trials),
            "reason": reason if len(trials) > 1 else details[trials[0]],
            "trials": ", ".join(map(str, sorted(trials)[:20])) + (" ..." if len(trials) > 20 else ""),
        }
        for reason, trials in sorted(numbers.items(), key=lambda item: -len(item[1]))
    ]


def _cost(analysis: Analysis) -> Iterable[tuple[str, str]]:
    cost = analysis.cost
    yield "Training, all trials together", duration_text(cost.training_seconds)
    if cost.wall_seconds is not None:
        yield "Wall-clock time", duration_text(cost.wall_seconds)
    if cost.trials_per_hour is not None:
        yield "Trials per hour", count_text(cost.trials_per_hour)
    yield "Epochs trained", count_text(cost.epochs)
    if cost.epochs_spared:
        yield "Epochs spared by pruning", f"{count_text(cost.epochs_spared)} ({cost.share_spared:.0%})"
    if cost.seconds_spared:
        yield "Training spared by pruning", f"about {duration_text(cost.seconds_spared)}, at each trial's own pace"
    if cost.fused:
        yield "Trained together with others", f"{cost.fused} trials, usually {cost.cohort_width} at a time"
    if cost.finalist_seconds:
        yield "Training of the finalists", duration_text(cost.finalist_seconds)
    if on_parts := sum(record.seconds for record in analysis.study.on_parts):
        yield "Training for the learning curve", duration_text(on_parts)


def _choice(analysis: Analysis) -> dict[str, str] | None:
    """The final choice: its title, and its parameters as YAML (JSON values are YAML)."""
    choice = analysis.choice
    if choice is None:
        return None
    params = completed(analysis.space, choice.record.params)
    return {
        "title": f"Trial {choice.record.number}, {choice.why}",
        "params": "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in params.items()),
    }


def _commands(analysis: Analysis) -> str:
    if analysis.best is None or analysis.paths is None:
        return ""
    folder, store = analysis.paths.folder.parent, analysis.study.store_url
    command = partial(shell_command, results=Path(folder.name), store=store)
    study = "SWEEP.yaml" if _names_code(analysis) else analysis.study.name
    lines = [f"{command('best', study, '--verify')}    # the stored weights, evaluated again"]
    sweep = analysis.paths.best / "sweep.yaml"
    if sweep.exists():
        lines.append(f"{command('run', sweep.relative_to(folder.parent))}    # trains it again")
    return "\n".join(lines)


def _names_code(analysis: Analysis) -> bool:
    """Whether the sweep names code of the user's, which commands run only where a sweep file names it too."""
    if "sweep" not in analysis.study.facts:
        return False
    from tuner.spec.kept.snapshot import sweep_from_snapshot  # which brings pydantic
    from tuner.spec.own_code import named_code

    try:
        return bool(named_code(sweep_from_snapshot(analysis.study.facts.get("sweep"))))
    except ValueError:
        return False


def _versions(analysis: Analysis) -> Iterable[tuple[str, str]]:
    facts = analysis.study.facts
    versions = facts.get("versions")
    if isinstance(versions, Mapping):
        yield from ((str(k), str(v)) for k, v in versions.items())
    origin = facts.get("origin")
    if isinstance(origin, Mapping):
        yield from ((str(k), str(v)) for k, v in origin.items())
    data = facts.get("data")
    if isinstance(data, Mapping):
        counts = [
            f"{data[n]} {n.removeprefix('num_')}"
            for n in ("num_train", "num_train_dev", "num_dev", "num_test")
            if data.get(n)
        ]
        yield "examples", ", ".join(counts)
        yield "data hash (SHA-256)", str(data.get("sha256", ""))
    if isinstance(facts.get("command"), str):
        yield "command", facts["command"]


def _pretty(sweep: object) -> str:
    return json.dumps(sweep, indent=1, ensure_ascii=False, default=str) if sweep else ""
