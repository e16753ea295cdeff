"""The `reports:` block: how the epochs of a command are read that does not report them as tuner asks for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuner.spec.values import Part

_Text = Annotated[str, Field(min_length=1)]


class ReportsSpec(Part):
    """Where the numbers of a command's epochs are found, if it prints no lines for tuner: exactly one of `pattern`,
    `csv` and `tensorboard`."""

    pattern: _Text | list[_Text] | None = None
    """A regular expression (of Python) that is looked for in each line of its output, with groups named as the metric,
    as `epoch` or `step`, and as what else is to be shown: `epoch (?P<epoch>\\d+).* val (?P<val_loss>\\S+)`. Several,
    where an epoch's numbers stand in several lines, that of the metric last. Without `epoch` and `step`, lines are
    counted."""
    csv: _Text | None = None
    """A CSV file that it writes, with a header; the path from where it runs, with `{checkpoint_dir}` or `{trial}` in
    it, as the command has them."""
    column: _Text | None = None
    """The column of the metric; left out: the metric's name. The column `epoch` is read; without it, lines that have
    the metric are counted."""
    tensorboard: _Text | None = None
    """A folder in which it writes TensorBoard's event files, as in `csv`. Needs `pip install 'tuner[tensorboard]'`."""
    tag: _Text | None = None
    """The tag of the metric there; left out: the metric's name. Its points are counted."""
    every: Annotated[int, Field(ge=1)] | None = None
    """So many steps are an epoch: what is measured at step 500 with `every: 250` is epoch 2, and what is measured
    between is passed over. The step is the group or the column `step`, or TensorBoard's."""
    first: Literal[0, 1] = 1
    """What the first finished epoch is called by the command. With 1, epoch 0 is a measurement before training."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All of `pattern`."""
        given = self.pattern or []
        return (given,) if isinstance(given, str) else tuple(given)
