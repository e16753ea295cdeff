"""What README and docs say is true: commands run, examples work, links and paths lead somewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from tests.contracts.strategy_contract import Make, StrategyContract
from tests.report.simulate import simulate
from tests.sweep.parts import EPOCHS, strategy, sweep
from tests.test_layering import LATE, LAYERS, OWNERS
from tests.track.parts import record as tracked
from tests.track.parts import result, study_in
from tests.train.cohorts import digits, make_task
from tests.train.test_stacked import check_gradients
from tuner.cli.main import COMMANDS, cli
from tuner.data import sources
from tuner.data.load import load_training_data
from tuner.models.cnn import cnn
from tuner.models.layers import activations, norms
from tuner.models.mlp import mlp
from tuner.models.module import initial_values, load_values, to_module
from tuner.records import Direction, EpochsFinished, TrialFinished, TrialRecord, TrialState
from tuner.report.certainty.resampling import resampled_metric
from tuner.report.tables.leaderboard import leaderboard
from tuner.search import registry
from tuner.search.strategy import Strategy
from tuner.spec.known import knowledge, metrics
from tuner.spec.known import optimizers as known_optimizers
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.strategies import STRATEGIES, KnownStrategy
from tuner.spec.model import SearchSpec, SweepSpec
from tuner.spec.space import Space
from tuner.spec.text.document import parse_yaml
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import Place
from tuner.track.told import TellTracker
from tuner.train.measure import scoring
from tuner.train.measure.metrics import Evaluation
from tuner.train.programs.torch_optimizers import make_optimizer
from tuner.train.rows import optimizers
from tuner.train.rows.row_optimizer import RowOptimizer
from tuner.train.settings import resolve_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
READMES = [file for part in ("tuner", "tests", "benchmarks") for file in sorted((ROOT / part).rglob("*.md"))]
ROOMS = sorted({file.parent for file in (ROOT / "tuner").rglob("*.py")} - {ROOT / "tuner"})
SOURCES = "\n".join(
    file.read_text(encoding="utf-8")
    for folder in ("tuner", "tests", "docs")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if file.name != "test_docs.py"
)
TO_BE_WRITTEN = {"tuner/search/neighbour.py", "tuner/models/funnel.py", "tuner/data/sources/json_lines.py"}
"""Files that `docs/extending.md` tells the reader to write."""
SMALL = {r"trials: \d+": "trials: 8", r"epochs: \d+": "epochs: 6", r"count: \d+": "count: 2", r"seeds: \d+": "seeds: 2"}
"""What makes a sweep file of the pages a matter of seconds."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


# Links, paths, tables


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_paths_of_the_repository_exist(page: Path) -> None:
    pattern = r"`((?:tuner|tests|docs|sweeps|examples|benchmarks)/[\w./-]*\w)`"
    named = set(re.findall(pattern, page.read_text(encoding="utf-8"))) - TO_BE_WRITTEN
    assert {name for name in named if not (ROOT / name).exists()} == set()


def defined_in(file: Path) -> set[str]:
    """What a module defines at its top, and in its classes: `function`, `Class`, `Class.method`."""
    found: set[str] = set()
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, kinds):
            found.add(node.name)
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, kinds)}
    return found


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_that_are_named_with_their_file_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [
        (ROOT / file, name) for file, name in re.findall(r"`((?:tuner|tests)/[\w/]+\.py):([A-Za-z_][\w.]*)`", text)
    ]
    for file, name in re.findall(r"`([\w/]+\.py)`:`([\w.]+)`", text):  # as rooms name them, from where they are
        named.append((ROOT / file if file.startswith("tuner/") else page.parent / file, name))
    for file, name in named:
        there = defined_in(file)
        assert name in there or any(n.endswith(f".{name}") for n in there), f"{page.name} names {file.name}:{name}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_every_room_says_what_is_where_on_one_screen(room: Path) -> None:
    text = (room / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    named = set(re.findall(r"`([\w/]+\.py|[\w/]+/)`", text))
    here = {name for name in named if not name.startswith(("tuner/", "tests/", "docs/", "benchmarks/"))}
    assert {name for name in here if not (room / name).exists()} == set()
    tables = set(re.findall(r"`(_?[A-Z][A-Z_]{2,})`", text))
    assert {name for name in tables if not re.search(rf"\b{name}\b", SOURCES)} == set()
    elsewhere = set(re.findall(r"`((?:tuner|tests|docs)/[\w./-]*\w)`", text))
    assert {name for name in elsewhere if not (ROOT / name).exists()} == set()


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", text_of("docs/README.md")))
    assert linked == {p.name for p in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_the_table_of_layers_is_the_one_that_is_enforced() -> None:
    rows = re.findall(r"^\| (\d) \| (.*?) \| ?(.*?) ?\|$", text_of("docs/architecture.md"), flags=re.MULTILINE)
    found = {int(number): set(re.findall(r"`(\w+)`", parts)) for number, parts, _ in rows}
    assert found == dict(enumerate(LAYERS))
    owners: dict[str, set[str]] = {}
    for _, _, owned in rows:
        for parts, libraries in re.findall(r"([\w, ]+): ([\w, ]+)", owned):
            for library in libraries.split(", "):
                owners.setdefault(library.strip(), set()).update(p.strip() for p in parts.split(","))
    assert owners == OWNERS
    assert LATE.keys() <= OWNERS.keys()


def test_the_readme_lists_every_command_in_order_and_each_has_help() -> None:
    listed = re.findall(r"^\| `tuner ([\w-]+)", text_of("README.md"), flags=re.MULTILINE)
    assert listed == list(COMMANDS)
    context = cli.make_context("tuner", [], resilient_parsing=True)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help, name


def test_the_gallery_lists_every_sweep() -> None:
    listed = re.findall(r"\]\(\.\./sweeps/(\w+)\.yaml\)", text_of("docs/gallery.md"))
    assert sorted(listed) == sorted(p.stem for p in (ROOT / "sweeps").glob("*.yaml"))


def test_tests_that_the_page_on_reliability_names_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::([\w:]+)`", text_of("docs/reliability.md"))
    rows = re.findall(r"^\| (\d+) \| .*::", text_of("docs/reliability.md"), flags=re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, len(rows) + 1))
    assert f"[{len(rows)} ways to fail](docs/reliability.md)" in text_of("README.md")
    for file, test in named:
        code = text_of(file if "/" in file else f"tests/reliability/{file}")
        for name in test.split("::"):
            assert re.search(rf"^ *(?:def|class) {name}\b", code, flags=re.MULTILINE), f"{file}::{test}"


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:^\$ |`)make (?:PYTHON=\S+ )?([a-z]+)", page.read_text(), flags=re.MULTILINE))
        assert named <= targets, page.name


# Commands


def shown_lines(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, with the lines of output that are shown below it."""
    command: str | None = None
    shown: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        elif line.strip() not in ("", "..."):
            shown.append(line)
    if command is not None:
        yield command, shown


def shape(line: str) -> str:
    """A line with its numbers and spacing evened out: what must not differ from run to run."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", line).split())


def shrink_sweeps(folder: Path) -> None:
    for file in folder.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        for pattern, small in SMALL.items():
            text = re.sub(pattern, small, text)
        file.write_text(text, encoding="utf-8")


def console_pages() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES if "```console\n$ tuner" in page.read_text(encoding="utf-8")]


@pytest.mark.deep
@pytest.mark.parametrize("page", console_pages())
def test_commands_of_a_page_run_and_print_what_is_shown(page: str, tmp_path: Path) -> None:
    """A page's console blocks are one session, in a folder with the sweeps and examples of the repository."""
    for name in ("sweeps", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    for block in blocks(page, "console"):
        for command, shown in shown_lines(block):
            if command.startswith("make "):
                continue
            assert shlex.split(command)[0] in ("tuner", "python"), command
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
            )
            output = done.stdout + done.stderr
            assert done.returncode == 0, f"$ {command}\n{output}"
            printed = {shape(line) for line in output.splitlines()}
            missing = [line for line in shown if shape(line) not in printed]
            assert not missing, f"$ {command}\n{output}"
            shrink_sweeps(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_sweep_files_of_the_pages_are_valid(page: Path, tmp_path: Path) -> None:
    from tuner.spec.reader import read_sweep

    for block in blocks(str(page.relative_to(ROOT)), "yaml"):
        if block.startswith("study:"):
            file = tmp_path / "sweep.yaml"
            file.write_text(block, encoding="utf-8")
            read_sweep(file)


# The examples of docs/extending.md


def example(name: str) -> str:
    (found,) = (b for b in blocks("docs/extending.md", "python") if b.startswith(f"# {name}\n"))
    return found


def namespace_of(*names: str, into: dict[str, Any] | None = None) -> dict[str, Any]:
    namespace: dict[str, Any] = into if into is not None else {}
    for name in names:
        exec(compile(example(name), f"docs/extending.md: {name}", "exec"), namespace)
    return namespace


@pytest.mark.slow
class TestTheStrategyOfThePage(StrategyContract):
    @pytest.fixture
    def make(self, monkeypatch: pytest.MonkeyPatch) -> Make:
        module = ModuleType("tuner.search.neighbour")
        namespace_of("strategy", "strategy, made", into=vars(module))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        named = {"STRATEGIES": dict(STRATEGIES), "KnownStrategy": KnownStrategy}
        monkeypatch.setattr(registry, "STRATEGIES", namespace_of("strategy, named", into=named)["STRATEGIES"])

        def make(space: Space, direction: Direction, *, trials: int, epochs: int, seed: int) -> Strategy:
            search = SearchSpec(trials=trials, seed=seed, pruner="asha").model_copy(update={"strategy": "neighbour"})
            spec = SweepSpec(study="s", data={"source": "sklearn/digits"}, training={"epochs": epochs}, search=search)
            return registry.open_strategy(spec, space, direction)

        return make


def test_the_metric_of_the_page_is_that_of_scikit_learn_also_when_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "METRICS", dict(scoring.METRICS))
    monkeypatch.setitem(metrics.METRICS, "kappa", metrics.METRICS["r2"])
    namespace_of("metric", "metric, declared")
    targets = np.arange(60) % 3
    logits = np.random.default_rng(0).standard_normal((4, 60, 3)).astype(np.float32)
    evaluation = Evaluation(torch.from_numpy(targets), loss="cross_entropy", metric=metrics.METRICS["kappa"])
    expected = [cohen_kappa_score(targets, z.argmax(axis=1)) for z in logits]
    assert evaluation(torch.from_numpy(logits)).metric == pytest.approx(expected)
    weights = np.r_[np.ones((1, 60)), 2.0 * (np.arange(60) < 30)[None]]
    found = resampled_metric("kappa", np.exp(logits[0]), targets, weights)
    assert found == pytest.approx([expected[0], cohen_kappa_score(targets[:30], logits[0, :30].argmax(axis=1))])


@pytest.mark.slow  # what torch.optim imports at its first use
def test_the_optimiser_of_the_page_follows_its_namesake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(optimizers.ROW_OPTIMIZERS, "adagrad", RowOptimizer)
    monkeypatch.setattr(known_optimizers, "OPTIMIZERS", table := dict(known_optimizers.OPTIMIZERS))
    monkeypatch.setattr(knowledge, "OPTIMIZERS", table)
    namespace_of("optimiser", "optimiser, declared")
    assert HYPERPARAMETERS["learning_rate"].range_for("adagrad") == (1e-4, 1.0)
    spec = SweepSpec(study="s", data={"source": "sklearn/digits"}, training={"epochs": 1})
    settings = replace(resolve_settings(spec, {}, num_train=10), optimizer="adagrad", weight_decay=0.1)
    rows = optimizers.ROW_OPTIMIZERS["adagrad"]([settings], num_decayed=6)
    module = torch.nn.Linear(3, 2, bias=False)
    p = module.weight.detach().flatten()[None].clone()
    moments = {name: torch.zeros_like(p) for name in rows.moments}
    namesake = make_optimizer(module, settings)
    for step in range(4):
        gradient = torch.randn(2, 3)
        module.weight.grad = gradient.clone()
        namesake.step()
        table = rows.scalars(np.full((1, 1), settings.learning_rate), np.full((1, 1), step))
        scalars = {name: torch.tensor(values, dtype=torch.float32).view(1, 1) for name, values in table.items()}
        rows.step(p, gradient.flatten()[None].clone(), moments, scalars)
    torch.testing.assert_close(p.view(2, 3), module.weight.detach())


def test_the_hyperparameter_of_the_page_may_be_searched() -> None:
    known = namespace_of("hyperparameter")["RATE_FLOOR"]
    assert known.range_for("adam") == (0.0, 0.2)
    assert known.bounds.hold(known.default)
    assert known.serves("sgd")


def test_the_activation_of_the_page_has_the_gradient_of_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "ACTIVATIONS", dict(activations.ACTIVATIONS))
    namespace_of("activation")
    kind = activations.ACTIVATIONS["selu"]
    x = torch.linspace(-3, 3, 50, requires_grad=True)
    expected = kind.module()(x)
    dy, y, dx = torch.randn(50), torch.empty(50), torch.empty(50)
    expected.backward(dy)
    kind.forward(x.detach(), out=y)
    kind.backward(dy, y if kind.from_output else x.detach(), grad_input=dx)
    torch.testing.assert_close((y, dx), (expected.detach(), x.grad))


@pytest.mark.parametrize("spatial", [False, True])
def test_the_normalisation_of_the_page_has_the_gradients_of_its_module(
    spatial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norms, "NORMS", dict(norms.NORMS))
    namespace_of("normalisation")
    asked = {"hidden_units": 20, "hidden_layers": 2, "activation": "tanh", "norm": "rms", "residual": False}
    if spatial:
        images = {**asked, "channels": 3, "conv_layers": 2, "kernel_size": 3}
        networks = [cnn(images, input_shape=(2, 6, 6), num_outputs=4)] * 2
    else:
        networks = [mlp({**asked, "hidden_units": n}, input_shape=(9,), num_outputs=4) for n in (20, 29)]
    check_gradients(networks, loss="cross_entropy")


def test_the_check_of_the_page_finds_a_class_without_examples() -> None:
    found = namespace_of("check")["check_classes"]
    whole = make_task(digits())
    assert found(whole).passed
    targets = whole.data.train.targets.clone()
    targets[targets == 3] = 4
    less = found(make_task(replace(digits(), train=replace(digits().train, targets=targets))))
    assert (less.passed, less.finding) == (False, "9 of 10 classes occur in the training set")


@pytest.mark.parametrize(("study", "warnings"), [("digits", 0), ("digits.yaml", 1)])
def test_the_rule_of_the_page_warns_with_its_place(study: str, warnings: int) -> None:
    findings = Findings(parse_yaml(f"study: {study}\n", locate=lambda line, column, written: Place(line, column)))
    namespace_of("rule")["check_name"](SweepSpec(study=study, data={"source": "sklearn/digits"}), findings)
    assert len(findings.warnings) == warnings


def test_the_executor_of_the_page_trains_its_job() -> None:
    events = namespace_of("executor")["events"]
    (epochs,) = (e for e in events if isinstance(e, EpochsFinished) and e.results[-1].epoch == 3)
    assert epochs.results[-1].dev_metric == pytest.approx(0.9 - 0.5 / 3)
    assert isinstance(events[-1], TrialFinished)


def test_the_model_of_the_page_learns() -> None:
    network = namespace_of("model")["funnel"](
        {"hidden_units": 32, "hidden_layers": 3, "activation": "tanh"}, input_shape=(1, 4, 4), num_outputs=3
    )
    module = to_module(network)
    load_values(module, network, initial_values(network, seed=0))
    inputs, targets = torch.randn(12, 1, 4, 4), torch.arange(12) % 3
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(module(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_the_source_of_the_page_is_read_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("json_lines")
    namespace_of("source", into=vars(module))
    monkeypatch.setitem(sources.SOURCES, "JSON Lines", module)
    lines = (f'{{"a": {i / 7}, "b": {i % 5}, "kind": "{"xy"[i % 2]}"}}' for i in range(40))
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    data = load_training_data(SweepSpec(study="s", data={"source": "data.jsonl"}, root=str(tmp_path)))
    assert data.info.class_names == ("x", "y")
    assert data.info.feature_names == ("a", "b")


def test_the_format_of_the_page_survives_what_a_study_has_no_value_for() -> None:
    ended = simulate(trials=12, seed=1, pruned=0.25, failed=0.25).study
    running = TrialRecord(number=12, params={"learning_rate": 0.1}, seed=0, state=TrialState.RUNNING)
    study = replace(ended, records=(*ended.records, running))
    assert {r.state for r in study.records} >= {TrialState.FAILED, TrialState.PRUNED, TrialState.RUNNING}
    frame = leaderboard(study)
    text = namespace_of("format")["to_latex"](frame, study)
    assert text.count(" & ") == (len(frame.columns) - 1) * (len(frame) + 1)
    assert not re.search(r"\b(nan|None|<NA>)\b", text)


def test_the_listener_of_the_page_hears_every_epoch(tmp_path: Path) -> None:
    sent: list[tuple[str, int, float]] = []
    tracker = namespace_of("listener")["Tracker"](lambda name, epoch, m: sent.append((name, epoch, m["dev metric"])))
    sweep(tmp_path, strategy(trials=3), watcher=tracker).run()
    assert [entry[:2] for entry in sent] == [(f"trial {n}", e) for n in range(3) for e in range(1, EPOCHS + 1)]


def test_the_tracker_of_the_page_keeps_a_run_in_one_file_over_several(tmp_path: Path) -> None:
    (text,) = (b for b in blocks("docs/trackers.md", "python") if b.startswith("# tracker\n"))
    namespace: dict[str, Any] = {}
    exec(compile(text, "docs/trackers.md: tracker", "exec"), namespace)
    paths = study_in(tmp_path)
    for epoch in (1, 2):
        tell = TellTracker(namespace["LinesTracker"]("mine", paths, folder=paths.tracker("notes")))
        tell.opened((), metric="accuracy", direction=Direction.MAXIMIZE)
        tell.epochs(tracked(0, epoch), [result(epoch)])
        tell.close()
    tell.ended(tracked(0, 2, TrialState.COMPLETE))
    lines = [json.loads(line) for line in (paths.tracker("notes") / "trial-0000.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2]
    assert lines[-1]["state"] == "complete"


def test_the_format_of_the_page_disarms_what_it_prints() -> None:
    frame = pd.DataFrame({"rank": [1], "dev_accuracy": [0.9], "reason": ["5 % & a \x1b"]})
    text = namespace_of("format")["to_latex"](frame, None)
    assert r"rank & dev\_accuracy & reason \\" in text
    assert r"1 & 0.9 & 5 \% \& a \textbackslash{}x1b \\" in text
