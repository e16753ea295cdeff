"""The `data:` block: where the examples come from, how they are split and prepared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from tuner.spec.values import Fraction, Part

NO_DATA = "none"
"""The source of a sweep without a `data:` block, whose training code reads data of its own."""


class SplitSpec(Part):
    """Shares of the examples for training, for choosing hyperparameters and for the one final test."""

    train: Fraction
    """Share of the examples that networks are trained on."""
    dev: Fraction
    """Share that configurations are compared on."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that only `tuner test` may read; 0 for none."""


def _split_form(value: object) -> str | None:
    if isinstance(value, dict | SplitSpec):
        return "shares"
    return "auto" if value == "auto" else None


Split = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[SplitSpec, Tag("shares")],
    Discriminator(
        _split_form,
        custom_error_type="split",
        custom_error_message="must be `auto` or shares such as {train: 0.6, dev: 0.2, test: 0.2}",
    ),
]


NormaliseInputs = Literal[True, False, "quantile"]


class NormaliseSpec(Part):
    """What is given zero mean and unit variance, as measured on the training examples."""

    inputs: NormaliseInputs = True
    """The inputs; false for token ids, or a module that normalises by itself. `quantile`: each number of a table is
    first made normal by its rank among the training examples, so that no skew and no outlier is left; not with
    `stream`."""
    targets: bool = True
    """The targets of a regression; false for a module that answers in their own units."""


def _normalise_form(value: object) -> str:
    return "parts" if isinstance(value, dict | NormaliseSpec) else "whole"


Normalise = Annotated[
    Annotated[NormaliseInputs, Tag("whole")] | Annotated[NormaliseSpec, Tag("parts")], Discriminator(_normalise_form)
]


class FoldsSpec(Part):
    """Cross-validation, once or several times."""

    count: Annotated[int, Field(ge=2, le=50)]
    """Parts that the train and dev examples are shared out to."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    """So many times they are shared out, each time anew: a trial trains as many times `count` networks, and its score
    depends less on which example is in which part. Not with `order`."""


def _folds_form(value: object) -> str:
    return "parts" if isinstance(value, dict | FoldsSpec) else "whole"


Folds = Annotated[
    Annotated[Annotated[int, Field(ge=2, le=50)], Tag("whole")] | Annotated[FoldsSpec, Tag("parts")],
    Discriminator(_folds_form),
]


class DataSpec(Part):
    """Where the examples come from and how they are split and prepared."""

    source: Annotated[str, Field(min_length=1)]
    """`sklearn/NAME`; a CSV, Parquet, NPZ, NPY or IDX file; a folder of images; or a function of yours,
    `package.module:function` or `path/to/file.py:function`. Paths start at the sweep file's folder."""
    target: str | list[str] | None = None
    """Column to predict, or several: numbers to regress together, or labels of 0 and 1; the last column if left out."""
    task: Literal["auto", "classification", "multi_label", "regression"] = "auto"
    """What to learn; `auto` looks at the target: text, booleans and few distinct integers are classes, several columns
    of 0 and 1 are labels (an example may have any number of them)."""
    split: Split = "auto"
    """Shares of train, dev and test; `auto` is 60/20/20 for small sets, down to 98/1/1 near a million examples."""
    folds: Folds | None = None
    """Cross-validation: every trial trains so many networks, each without one of as many parts of the train and dev
    examples, and is scored by the mean over these parts. `{count: 5, repeats: 3}` shares the examples out three times.
    Left out: one dev set."""
    stream: bool = False
    """Leave the inputs on disk and read them window by window, for data larger than memory: CSV and Parquet tables,
    NPY files in a folder, IDX files that are not packed, and functions."""
    dev: str | None = None
    """File that holds the dev examples, if they are given apart."""
    test: str | None = None
    """File that holds the test examples, if they are given apart."""
    train_dev: Literal["auto", "off"] = "auto"
    """Hold out a tenth of the training examples where dev examples are given apart, or a classifier tells them from
    training examples: what is lost from train to these is variance, from these to dev a mismatch of distributions."""
    normalise: Normalise = True
    """Give each input, and each target of a regression, zero mean and unit variance, measured on the training examples
    only; `false` leaves the inputs as they are, `{inputs: true, targets: false}` the targets. `quantile` first makes
    the numbers of a table normal, by their ranks."""
    inputs: dict[str, list[str]] | None = None
    """For a module of yours whose forward takes several inputs: the columns of each, by names or patterns such as
    `pixel_*`. Groups are given by name where forward's parameters have these names, else in their order."""
    missing: Literal["mean", "drop", "error"] = "mean"
    """Missing values: fill with the training mean (a column of its own marks them), drop the example, or refuse."""
    seed: int = 0
    """Seed of the split."""
    group: str | None = None
    """Column that names a group (a patient, a speaker): a group's examples all go to the same part. It is no input."""
    order: str | None = None
    """Column that orders the examples in time: train comes before dev, dev before test. It is no input."""
    ignore: list[str] = Field(default_factory=list)
    """Columns that are not used, such as identifiers, by names or patterns such as `*_id`."""
    categorical: list[str] = Field(default_factory=list)
    """Columns, by names or patterns, whose numbers are categories, such as codes of a region; not with `stream`."""
    numeric: list[str] = Field(default_factory=list)
    """Columns, by names or patterns, that must hold numbers: a text is refused with its row; not with `stream`."""
    dates: Literal["refuse", "expand"] = "refuse"
    """Columns of dates: refuse them, or `expand` each to four numbers, its year, month, weekday (0 is Monday) and days
    since 1970; not with `stream`."""
    report_by: list[str] = Field(default_factory=list)
    """Columns, inputs or not, by whose values reports give scores too, such as a region; numbers are cut at their
    quartiles. Not with `stream`."""
    image_size: Annotated[int, Field(ge=1)] | None = None
    """Resize the images of a folder to this many pixels in height and width; needed when they differ in size."""

    @property
    def cross_validation(self) -> FoldsSpec | None:
        """How the examples are shared out to folds; None with one dev set."""
        return FoldsSpec(count=self.folds) if isinstance(self.folds, int) else self.folds

    @property
    def normalised(self) -> NormaliseSpec:
        """What is normalised."""
        return self.normalise if isinstance(self.normalise, NormaliseSpec) else NormaliseSpec(inputs=self.normalise)
