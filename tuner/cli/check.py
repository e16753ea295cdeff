"""`tuner check`: validate a sweep file, and rehearse the sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.errors import TunerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuner.execute.preflight import Preflight
    from tuner.spec.model import SweepSpec


@click.command()
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("--no-import", is_flag=True, help="Only read and check the file: no data, no code of yours.")
@click.option(
    "--gradients/--no-gradients", default=None,
    help="Compare gradients with numerical ones, in float64; by default if the network or the loss is yours.",
)  # fmt: skip
@click.option(
    "--contact-sheet", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png",
    help="Draw training images as each kind of augmentation changes them.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Plan for so many workers.")
@click.option("--devices", help="Where to train: cpu, cuda, cuda:0, mps.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the sweep file; repeatable.")
def check(
    sweep: Path,
    no_import: bool,
    gradients: bool | None,
    contact_sheet: Path | None,
    workers: int | None,
    devices: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Check a sweep file, and rehearse its sweep.

    Prints the search space by tiers. Then loads the data, checks the default network on one batch, and prints how
    the trials would be trained together and about how long that takes.
    """
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import number_of
    from tuner.search.portfolio import learned_starts
    from tuner.spec.defaults import build_space
    from tuner.spec.reader import read_sweep
    from tuner.spec.space import tier_label
    from tuner.sweep.past import past_starts

    file = read_sweep(sweep, overrides=overrides)
    for warning in file.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
    spec = file.spec
    click.echo(f"{sweep}: study {spec.study}, {number_of(spec.search.trials, 'trial')} of "
               f"{number_of(spec.training.epochs, 'epoch')}, "
               f"strategy {spec.search.strategy}")  # fmt: skip
    space = build_space(spec)
    for tier in space.tiers:
        click.echo(f"  {tier_label(tier)}")
        for dimension in space.in_tier(tier):
            click.echo(f"    {visible(_dimension(dimension))}")
    for found in (past_starts(spec, space, results=Path("results")), learned_starts(spec, space)):
        if found is not None:
            click.echo(f"  {visible(found.line)}")
    if not no_import:
        _rehearse(spec, gradients=gradients, workers=workers, devices=devices, sheet=contact_sheet)


def _rehearse(
    spec: object, *, gradients: bool | None, workers: int | None, devices: str | None, sheet: Path | None
) -> None:
    from tuner.cli.course import course_notes
    from tuner.execute.devices import worker_places
    from tuner.execute.foreseen import plan
    from tuner.execute.free_memory import free_bytes
    from tuner.execute.preflight import preflight
    from tuner.paths import prepared_data
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import number_of
    from tuner.spec.model import SweepSpec
    from tuner.sweep.forecast import forecast, memory_text

    assert isinstance(spec, SweepSpec)
    chosen = [d.strip() for d in devices.split(",")] if devices else []
    places = worker_places(chosen, workers=workers, own_code=spec.loop is not None, resources=spec.resources)
    found = preflight(
        spec,
        places[0],
        gradients=gradients,
        sheet=sheet is not None,
        prepared_in=prepared_data(Path("results").resolve()),
    )
    if spec.loop is not None:
        if spec.has_data:
            _print_data(found, spec)
        click.echo(f"{spec.loop}: the default configuration, an epoch and a second start")
    else:
        _print_data(found, spec)
        for note in course_notes(spec, num_train=int(found.facts.data["num_train"])):
            click.echo(f"  {note}")
        click.echo(f"baseline: a guess has {found.facts.metric} {found.baseline:.4f} on the dev set")
        click.echo(f"default network: {found.num_parameters} parameters")
    for result in found.checks:
        mark = click.style("ok  ", fg="green") if result.passed else click.style("FAIL", fg="red")
        click.echo(f"  {mark} {result.name}: {visible(result.finding)}")
        if not result.passed:
            for line in result.advice.splitlines():
                click.echo(f"       {visible(line)}")
    if found.way:
        click.echo(f"trained {visible(found.way)}")
    if sheet is not None:
        _draw_sheet(found, sheet)
    planned = plan(spec, found.facts, num_workers=len(places))
    made = f"{number_of(planned.trials, 'trial')}: {number_of(planned.cohorts, 'cohort')}"
    on = number_of(len(places), f"{places[0].device} worker")
    click.echo(f"plan: {made}, widest {planned.widest}, on {on}")
    click.echo(f"time: {forecast(spec, found, planned).text if found.facts.calibration else 'not estimated'}")
    if memory := memory_text(spec, found, num_workers=len(places), free_bytes=free_bytes()):
        click.echo(f"memory: {memory}")
    if found.epoch_seconds and not devices:
        click.echo(_pace(found.epoch_seconds, num_accelerators=len(places)))
    if not all(result.passed for result in found.checks):
        raise TunerError("a check failed; see above")


def _draw_sheet(found: Preflight, path: Path) -> None:
    from tuner.report.figures.contact_sheet import write_contact_sheet

    if found.sheet is None:
        raise TunerError("there is no contact sheet for own training code, whose examples tuner does not change")
    rows = [(row.name, row.images) for row in found.sheet.rows]
    write_contact_sheet(path, rows, strength=found.sheet.strength)
    click.echo(f"augmented examples: {path}", err=True)


def _print_data(found: Preflight, spec: SweepSpec) -> None:
    from tuner.diagnose.resolution import folds_instead, resolution_text
    from tuner.report.words.escape import visible

    data = found.facts.data
    shape = "x".join(str(n) for n in data["input_shape"])
    held_out = f"{data['num_train_dev']} train-dev, " if data.get("num_train_dev") else ""
    click.echo(f"data: {data['task']}, {data['num_train']} train, {held_out}{data['num_dev']} dev, "
               f"{data['num_test']} test examples of {shape}, {data['num_outputs']} outputs")  # fmt: skip
    target_error = spec.objective.target_error
    told = resolution_text(found.facts.metric, num_dev=data["num_dev"], target_error=target_error)
    proposal = folds_instead(found.facts.metric, data, spec.model_dump(mode="json"))
    for note in filter(None, [data["columns"], *data["notes"], proposal or told]):
        click.echo(f"  {visible(note)}")


def _pace(epoch_seconds: Mapping[str, float], *, num_accelerators: int) -> str:
    """Whether the accelerator is the quicker one, as measured just now."""
    from tuner.execute.cores import num_cores

    (there, seconds), (_, on_core) = epoch_seconds.items()
    kind, cores = there.partition(":")[0], num_cores()
    ours, theirs = seconds / num_accelerators, on_core / cores
    quicker = "cpu" if theirs < ours else kind
    return (
        f"pace: the default configuration takes {1e3 * seconds:.3g} ms for a trial and an epoch on {there}, and "
        f"{1e3 * on_core:.3g} ms on a core, of which there are {cores}: --devices {quicker} is about "
        f"{max(ours, theirs) / min(ours, theirs):.2g} times as fast"
    )


def _dimension(dimension: object) -> str:
    from tuner.spec.known.hyperparameters import HYPERPARAMETERS
    from tuner.spec.space import Dimension

    assert isinstance(dimension, Dimension)
    scale = {"linear": "", "log": ", log scale", "log1m": ", on log(1 - x)"}[dimension.scale]
    steps = ", whole numbers" if dimension.kind == "int" else ""
    steps = f"{steps}, in steps of {dimension.step:g}" if dimension.step else steps
    values = (
        ", ".join(str(c) for c in dimension.choices)
        if dimension.kind == "categorical"
        else f"{dimension.low:g} to {dimension.high:g}{scale}{steps}"
    )
    when = "".join(f", when {k} is {' or '.join(map(str, v))}" for k, v in dimension.when.items())
    known = HYPERPARAMETERS.get(dimension.name)
    course = f" [Ng: {known.course}]" if known is not None and known.course else ""
    return f"{dimension.name}: {values}{when} (default {dimension.default}){course}"
