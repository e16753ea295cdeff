"""`tuner lr-find`: a learning-rate range test of a sweep's default configuration."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.errors import TunerError, UsageError


@click.command("lr-find")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("--low", type=click.FloatRange(0, min_open=True), default=1e-6, show_default=True, help="First rate.")
@click.option("--high", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Last rate.")
@click.option("--steps", type=click.IntRange(10), default=120, show_default=True, help="Steps from low to high.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The figure; STUDY-lr-find.png if left out."
)
@click.option("--device", help="Where to train: cpu, cuda, cuda:0, mps.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the sweep file; repeatable.")
def lr_find(
    sweep: Path, low: float, high: float, steps: int, output: Path | None, device: str | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Find a learning rate by a range test (arXiv 1506.01186).

    Trains the default configuration of SWEEP for a moment, with a rate that rises exponentially from step to step, and
    reads from the loss which rates learn and which explode. Prints a line for the sweep file, writes a figure, and
    leaves the study alone.
    """
    from tuner.diagnose.lr_range import suggest
    from tuner.execute.devices import worker_places
    from tuner.execute.lr_range import lr_range
    from tuner.report.figures.lr_range import write_lr_range
    from tuner.spec.reader import read_sweep

    if low >= high:
        raise UsageError(f"--low must be less than --high ({high:g}), got {low:g}")
    file = read_sweep(sweep, overrides=overrides)
    for warning in file.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
    place = worker_places([device] if device else [], workers=1)[0]
    points = lr_range(file.spec, place, low=low, high=high, steps=steps)
    rates, losses = [rate for rate, _ in points], [loss for _, loss in points]
    found = suggest(rates, losses)
    path = output or Path(f"{file.spec.study}-lr-find.png")
    write_lr_range(path, rates, losses, found)
    click.echo(f"figure: {path}", err=True)
    if found is None:
        raise TunerError(
            f"the loss never fell, from {losses[0]:.3g}, at any rate from {low:g} to {rates[-1]:.2g}; "
            "see what `tuner check` says of the network, or try more --steps"
        )
    click.echo(f"suggested learning rate: {found.learning_rate:g}, since {found.reason}")
    click.echo(f"to search: learning_rate: {{low: {found.low:g}, high: {found.high:g}}}")
