from __future__ import annotations

from dataclasses import replace

import pytest

from tests.diagnose.curves import curve
from tests.report.simulate import SPACE
from tuner.diagnose.bounds import bounds_worth_moving, winners_on_bounds
from tuner.diagnose.curves import Flag, FlagKind
from tuner.diagnose.error_parts import ErrorParts, Verdict, error_parts
from tuner.diagnose.evidence import Evidence
from tuner.diagnose.feasibility import Feasibility, feasibility
from tuner.diagnose.importance import Finding, Importance
from tuner.diagnose.intervals import Interval
from tuner.diagnose.next_step import next_step
from tuner.records import TrialRecord, TrialState
from tuner.spec.space import Dimension, Space

ON_BOUND = [{"learning_rate": 0.9}, {"learning_rate": 0.8}, {"learning_rate": 0.95}]


WEIGHT_DECAY = Dimension(name="weight_decay", kind="float", tier=4, default=1e-4, low=1e-6, high=0.1, scale="log")
REGULARISED = Space((*SPACE.dimensions, WEIGHT_DECAY))


def parts(train: float, dev: float, target: float = 0.01) -> ErrorParts:
    result = curve(1, lambda _: dev, train=lambda _: train)[0]
    found = error_parts(result, metric="accuracy", num_train=5000, num_dev=5000, target_error=target)
    assert found is not None
    return found


EVIDENCE = Evidence(
    best={"learning_rate": 0.1},
    parts=parts(0.99, 0.9),
    flags=(),
    bounds=(),
    importances=(),
    feasibility=Feasibility(trials=40, diverged=0, failed=0, learning_rate_bound=None),
    space=Space(SPACE.dimensions[:4]),
    training={"optimizer": "sgd", "epochs": 20, "early_stopping": {"patience": 5}},
    num_ties=4,
    confirmed=True,
)


def test_variance_asks_for_regularisation_that_is_not_searched_yet() -> None:
    assert next_step(EVIDENCE).key == "space.weight_decay"
    searched = replace(EVIDENCE, training={**EVIDENCE.training, "weight_decay": 1e-4})
    assert next_step(searched).key == "space.dropout"


@pytest.mark.parametrize(("model", "norm", "asked"), [
    ("mlp", None, True), ("mlp", "none", True), ("mlp", "batch", False), ("mlp", "layer", False),
    ("resnet", None, False), ("resnet", "none", True), ("recurrent", None, False),
    ("package.module:factory", None, False),
])  # fmt: skip
def test_batch_norm_is_asked_for_where_units_are_dead_and_the_model_has_none(
    model: str, norm: str | None, asked: bool
) -> None:
    dead = Flag(FlagKind.DEAD_UNITS, "80% of the units of hidden layer 1 never fire")
    step = next_step(replace(EVIDENCE, parts=parts(0.8, 0.79), flags=(dead,), model=model, norm=norm))
    assert (step.key == "model.norm") is asked


def test_columns_that_give_the_target_away_come_before_what_rests_on_them() -> None:
    one = next_step(replace(EVIDENCE, telling=("price",)))
    assert (one.key, one.change) == ("data.ignore", "add [price], unless it is known before the target is")
    two = next_step(replace(EVIDENCE, telling=("price", "euros")))
    assert two.change == "add [price, euros], unless they are known before the target is"
    assert next_step(replace(EVIDENCE, telling=("price",), best=None)).key != "data.ignore"


def test_without_an_error_on_few_dev_examples_more_of_them_are_asked_for_and_no_target_is_said_to_be_reached() -> None:
    result = curve(1, lambda _: 1.0, train=lambda _: 1.0)[0]
    perfect = replace(EVIDENCE, parts=error_parts(result, metric="accuracy", num_train=90, num_dev=30), confirmed=False)
    step = next_step(replace(perfect, folds="the dev set has 30 examples"))
    assert (step.key, step.why) == ("data.folds", "no error is left on the dev set; the dev set has 30 examples")
    assert next_step(perfect).key == "finalists"
    assert "target" not in next_step(perfect).why


def test_variance_that_held_out_training_examples_show_is_told_with_their_error() -> None:
    result = curve(1, lambda _: 0.98, train=lambda _: 0.99)[0]
    apart = error_parts(
        result, metric="accuracy", num_train=5000, num_dev=5000, target_error=0.01, train_dev=(0.9, 5000)
    )
    assert "the error 10.0 % on held-out training examples is above" in next_step(replace(EVIDENCE, parts=apart)).why


def test_a_mismatch_asks_for_other_data_and_for_no_regularisation() -> None:
    result = curve(1, lambda _: 0.9, train=lambda _: 0.99)[0]
    apart = error_parts(
        result, metric="accuracy", num_train=5000, num_dev=5000, target_error=0.01, train_dev=(0.985, 5000)
    )
    step = next_step(replace(EVIDENCE, parts=apart))
    assert (step.key, step.change[:57]) == ("data", "make the training examples more like the dev examples, or")
    assert "10.0 % is above the 1.5 % of training examples that were held out" in step.why


def test_variance_with_all_regularisation_searched_asks_for_data() -> None:
    step = next_step(replace(EVIDENCE, space=REGULARISED))
    assert "more training data" in step.change


def test_regularisation_that_the_search_never_moved_was_not_searched() -> None:
    kept = replace(EVIDENCE, space=REGULARISED, kept={"dropout", "weight_decay"}, strategy="priority")
    step = next_step(kept)
    assert (step.key, step.change) == ("search.regularisation", "set it to always")
    assert "weight_decay and dropout kept their defaults" in step.why
    assert next_step(replace(kept, strategy="staged")).key == "search.trials"
    one = next_step(replace(kept, kept={"momentum", "dropout"}))
    assert "dropout kept its default" in one.why


def test_variance_of_images_asks_for_augmentation_before_more_data() -> None:
    images = replace(EVIDENCE, space=REGULARISED, images=True)
    step = next_step(images)
    assert (step.key, step.change) == ("space.augment", "search it")
    assert "more training data" in next_step(replace(images, training={**images.training, "augment": 0.3})).change


def test_variance_where_dev_is_not_like_train_asks_for_data_that_are() -> None:
    step = next_step(replace(EVIDENCE, space=REGULARISED, told_apart=True))
    assert (step.key, step.change) == ("data", "make the training examples more like the dev examples")


def test_bias_asks_for_longer_training_before_a_bigger_network() -> None:
    biased = replace(EVIDENCE, parts=parts(0.85, 0.84))
    assert next_step(biased).key == "space.hidden_units.high"
    longer = next_step(replace(biased, flags=(Flag(FlagKind.STILL_IMPROVING, "still improving"),)))
    assert (longer.key, longer.change) == ("training.epochs", "raise it to 40")
    assert next_step(replace(biased, space=Space(SPACE.dimensions[:2]))).key == "training.optimizer"


UNDECIDED = parts(0.99, 0.989, target=0.007)


def test_where_neither_bias_nor_variance_stands_out_the_winners_get_room() -> None:
    crowded = replace(EVIDENCE, parts=UNDECIDED, bounds=winners_on_bounds(ON_BOUND, space=SPACE))
    assert next_step(crowded).key == "space.learning_rate.high"
    assert "tuner test" in next_step(replace(crowded, bounds=())).change


def test_the_verdict_comes_before_bounds_and_no_bound_moves_against_it() -> None:
    rate, decay = ({"learning_rate": 0.9}, {"weight_decay": 1.1e-6})
    lower = winners_on_bounds([{**rate, **decay}] * 3, space=REGULARISED)
    assert {(b.name, b.side) for b in lower} == {("learning_rate", "high"), ("weight_decay", "low")}
    for bounds in (lower, lower[::-1]):
        found = next_step(replace(EVIDENCE, space=REGULARISED, bounds=bounds))
        assert found.key == "space.learning_rate.high"
        kept = next_step(replace(EVIDENCE, space=REGULARISED, bounds=bounds, kept={"dropout"}, strategy="priority"))
        assert kept.key == "search.regularisation"
    only = [b for b in lower if b.name == "weight_decay"]
    assert "more training data" in next_step(replace(EVIDENCE, space=REGULARISED, bounds=only)).change
    biased = next_step(replace(EVIDENCE, space=REGULARISED, bounds=lower, parts=parts(0.85, 0.84)))
    assert (biased.key, biased.change) == ("space.weight_decay.low", "lower it to 1e-07")


def test_variance_asks_for_more_of_a_regulariser_whose_upper_bound_the_winners_crowd() -> None:
    bounds = winners_on_bounds([{"weight_decay": 0.09, "learning_rate": 0.95}] * 3, space=REGULARISED)
    step = next_step(replace(EVIDENCE, space=REGULARISED, bounds=bounds))
    assert (step.key, step.change) == ("space.weight_decay.high", "raise it to 1")


def idle(name: str) -> Importance:
    return Importance(
        name=name, share=0.0, interval=Interval(0.0, 0.01), floor=0.01, finding=Finding.DOES_NOT_MATTER, num_trials=500
    )


def test_bounds_of_what_does_not_matter_or_where_most_trials_tie_are_chance() -> None:
    bounds = winners_on_bounds(ON_BOUND, space=SPACE)
    assert len(bounds) == 1
    assert bounds_worth_moving(bounds, importances=(), num_finished=20, num_ties=10) == [*bounds]
    assert bounds_worth_moving(bounds, importances=(), num_finished=61, num_ties=55) == []
    assert bounds_worth_moving(bounds, importances=(idle("learning_rate"),), num_finished=20, num_ties=1) == []


def test_an_error_no_better_than_a_guess_puts_the_data_in_question() -> None:
    result = curve(1, lambda _: 0.51, train=lambda _: 0.99)[0]
    guessed = error_parts(result, metric="accuracy", num_train=900, num_dev=900, guess_error=0.5)
    step = next_step(replace(EVIDENCE, parts=guessed))
    assert step.key == "data"
    longer = next_step(replace(EVIDENCE, parts=guessed, flags=(Flag(FlagKind.STILL_IMPROVING, "still improving"),)))
    assert longer.key == "training.epochs"


def test_a_linear_model_and_sizes_that_are_not_searched_are_remedies_for_bias() -> None:
    biased = replace(EVIDENCE, parts=parts(0.85, 0.84), space=Space(SPACE.dimensions[:2]))
    assert next_step(replace(biased, model="linear")).key == "model"
    assert next_step(replace(biased, model="mlp")).key == "space.hidden_units"
    assert next_step(replace(biased, model="cnn")).key == "space.hidden_units"
    assert next_step(replace(biased, model="net.py:factory")).key == "training.optimizer"


def test_a_size_that_the_search_has_left_is_not_raised() -> None:
    biased = replace(EVIDENCE, parts=parts(0.85, 0.84), best={"learning_rate": 0.1, "hidden_units": 20})
    assert next_step(biased).key == "training.optimizer"
    assert next_step(replace(biased, best={"hidden_units": 200})).key == "space.hidden_units.high"


def test_where_the_first_trials_all_diverged_the_learning_rate_is_too_high() -> None:
    none = replace(EVIDENCE, best=None, parts=None)
    burst = replace(none, feasibility=Feasibility(trials=3, diverged=3, failed=0, learning_rate_bound=None))
    assert (next_step(burst).key, next_step(burst).change) == ("space.learning_rate.high", "lower it to 0.1")
    fixed = replace(burst, space=Space(SPACE.dimensions[1:]))
    assert next_step(fixed).key == "training.learning_rate"


def test_where_all_trials_failed_otherwise_none_is_let_run_on() -> None:
    none = replace(EVIDENCE, best=None, parts=None)
    failed = replace(none, feasibility=Feasibility(trials=3, diverged=0, failed=3, learning_rate_bound=None))
    assert "`tuner logs" in next_step(failed).change
    few = replace(none, feasibility=Feasibility(trials=3, diverged=1, failed=0, learning_rate_bound=None))
    assert next_step(few).change == "let the sweep run on"
    assert next_step(replace(few, ended=True)).change == "raise it"


def test_a_learning_rate_is_lowered_where_it_is_set() -> None:
    narrow = Dimension(name="learning_rate", kind="float", tier=1, default=0.3, low=0.1, high=0.5, scale="log")
    burst = Feasibility(trials=3, diverged=3, failed=0, learning_rate_bound=None)
    none = replace(EVIDENCE, best=None, parts=None, feasibility=burst, space=Space((narrow,)))
    assert next_step(none).change == "lower both bounds: {low: 0.01, high: 0.05}"
    wild = replace(narrow, low=100.0, high=1000.0)  # a tenth of which diverges, too
    assert next_step(replace(none, space=Space((wild,)))).change == "lower both bounds: {low: 0.0001, high: 1}"
    unstable = Feasibility(trials=40, diverged=15, failed=0, learning_rate_bound=0.1)
    fixed = replace(EVIDENCE, feasibility=unstable, space=Space(SPACE.dimensions[1:]))
    assert next_step(fixed).key == "training.clip_norm"  # there is no range whose bound could move
    clipped = replace(fixed, training={**fixed.training, "clip_norm": 1.0})
    assert next_step(clipped).key == "training.learning_rate"  # what is set is not advised
    assert next_step(replace(clipped, own_code=True)).change == "lower the learning rate"


def test_divergence_comes_first_of_all() -> None:
    unstable = Feasibility(trials=40, diverged=15, failed=0, learning_rate_bound=0.3)
    step = next_step(replace(EVIDENCE, feasibility=unstable, bounds=winners_on_bounds(ON_BOUND, space=SPACE)))
    assert (step.key, step.change) == ("space.learning_rate.high", "lower it to 0.3")


def test_at_the_target_there_is_only_confirming_and_testing() -> None:
    done = replace(EVIDENCE, parts=parts(0.995, 0.993))
    assert "tuner test" in next_step(done).change
    assert next_step(replace(done, confirmed=False)).key == "finalists"
    assert next_step(replace(done, tested=True)).change.startswith("nothing")
    assert "`tuner test --again`" in next_step(replace(done, other_tested=True)).change
    assert "no test set" in next_step(replace(done, testable=False)).change


def test_no_finished_trial() -> None:
    assert next_step(replace(EVIDENCE, best=None, parts=None)).key == "search.trials"


def trial(number: int, rate: float, *, bad: bool) -> TrialRecord:
    result = curve(1, lambda _: 0.9)[0]
    return TrialRecord(
        number=number,
        params={"learning_rate": rate},
        seed=0,
        state=TrialState.FAILED if bad else TrialState.COMPLETE,
        reason="diverged: nan" if bad else "",
        best=result,
        last=result,
    )


def test_the_learning_rate_above_which_all_diverge_is_found() -> None:
    records = [trial(i, 10 ** (-4 + 4 * i / 19), bad=i >= 15) for i in range(20)]
    found = feasibility(records)
    assert (found.trials, found.diverged) == (20, 5)
    assert found.learning_rate_bound == pytest.approx(10 ** (-4 + 4 * 15 / 19))


def test_no_bound_where_divergence_has_no_place() -> None:
    assert feasibility([trial(i, 0.01 * (i + 1), bad=i % 3 == 0) for i in range(21)]).learning_rate_bound is None
    assert feasibility([]).learning_rate_bound is None


@pytest.mark.parametrize(("searched", "high", "larger"), [("hidden_units", 256, 512), ("hidden_layers", 4, 6)])
def test_a_bigger_network_has_twice_the_units_or_two_layers_more(searched: str, high: int, larger: int) -> None:
    size = Dimension(name=searched, kind="int", tier=2, default=2, low=1, high=high)
    biased = replace(EVIDENCE, parts=parts(0.85, 0.84), space=Space((SPACE["learning_rate"], size)))
    assert next_step(biased).key == f"space.{searched}.high"
    assert next_step(biased).change.startswith(f"raise it to {larger}:")


def test_a_bound_is_lowered_or_raised_to_the_side_that_the_winners_crowd() -> None:
    for rate, side, verb in ((0.95, "high", "raise it to 10"), (1.05e-4, "low", "lower it to 1e-05")):
        bounds = winners_on_bounds([{"learning_rate": rate}] * 3, space=SPACE)
        step = next_step(replace(EVIDENCE, parts=UNDECIDED, bounds=bounds))
        assert (step.key, step.change) == (f"space.learning_rate.{side}", verb)


def test_of_a_handful_of_trials_no_divergence_is_a_pattern() -> None:
    few = Feasibility(trials=4, diverged=3, failed=0, learning_rate_bound=0.3)
    assert next_step(replace(EVIDENCE, feasibility=few)).key == "space.weight_decay"
    assert next_step(replace(EVIDENCE, feasibility=replace(few, trials=5))).key == "space.learning_rate.high"


def bias_or_noise(**evidence: object) -> Evidence:
    """A training error that nothing says to be too large, on a dev set where no variance shows."""
    result = curve(1, lambda _: 0.84, train=lambda _: 0.85)[0]
    found = error_parts(result, metric="accuracy", num_train=5000, num_dev=5000)
    assert found is not None
    assert found.verdict is Verdict.BIAS_OR_NOISE
    values: dict[str, object] = {"parts": found, "best": {"hidden_units": 16}, "training": {"optimizer": "adamw"}}
    return replace(EVIDENCE, **{**values, **evidence})  # type: ignore[arg-type]


def test_bias_that_nothing_shows_to_be_some_is_no_reason_to_go_on() -> None:
    assert next_step(bias_or_noise(best={"hidden_units": 250})).key == "space.hidden_units.high"
    left = next_step(bias_or_noise())
    assert left.change == "evaluate the final choice once with `tuner test`"
    assert "bias, or noise; larger networks have not shown which, further inputs or a target_error may" in left.why
    layers = Dimension(name="hidden_layers", kind="int", tier=3, default=2, low=1, high=4)
    small = {"hidden_units": 16, "hidden_layers": 1}
    space = Space((*EVIDENCE.space.dimensions, layers))
    images = next_step(bias_or_noise(images=True, model="mlp", best=small, space=space))
    assert images.change == "set it to {choices: [mlp, cnn, resnet]}, which searches among architectures"


def test_what_a_small_dev_set_cannot_tell_asks_for_folds_first() -> None:
    few = "the dev set has 60 examples"
    result = curve(1, lambda _: 0.51, train=lambda _: 0.99)[0]
    guessed = error_parts(result, metric="accuracy", num_train=900, num_dev=900, guess_error=0.5)
    cases = (bias_or_noise(folds=few), replace(EVIDENCE, folds=few, parts=UNDECIDED))
    for evidence in (*cases, replace(EVIDENCE, folds=few, parts=guessed)):
        step = next_step(evidence)
        assert (step.key, step.change) == ("data.folds", "set it to 5")
        assert step.why.endswith(f"; {few}")
    longer = bias_or_noise(folds=few, flags=(Flag(FlagKind.STILL_IMPROVING, "still improving"),))
    assert next_step(longer).key == "training.epochs"
    assert next_step(replace(EVIDENCE, folds=few)).key == "space.weight_decay"  # variance shows without them


def test_no_larger_network_is_asked_for_where_smaller_ones_fit_as_well_and_it_may_be_noise() -> None:
    assert next_step(bias_or_noise(best={"hidden_units": 250})).key == "space.hidden_units.high"
    enough = bias_or_noise(best={"hidden_units": 250}, size_is_enough=True, training={"optimizer": "adam"})
    assert next_step(enough).change == "evaluate the final choice once with `tuner test`"
    sure = replace(EVIDENCE, parts=parts(0.85, 0.84), best={"hidden_units": 250}, size_is_enough=True)
    assert next_step(sure).key == "space.hidden_units.high"


@pytest.mark.parametrize(
    ("name", "choices", "larger"), [("hidden_units", (64, 128, 256), 512), ("hidden_layers", (1, 2, 3), 5)]
)
def test_sizes_that_are_choices_grow_too(name: str, choices: tuple[int, ...], larger: int) -> None:
    size = Dimension(name=name, kind="categorical", tier=2, default=choices[1], choices=choices)
    biased = replace(EVIDENCE, parts=parts(0.85, 0.84), space=Space((SPACE["learning_rate"], size)))
    step = next_step(replace(biased, best={name: choices[-1]}))
    assert (step.key, step.change) == (f"space.{name}.choices", f"add {larger}: a bigger network")
    assert next_step(replace(biased, best={name: choices[1]})).key == "training.optimizer"


def test_where_regularisation_was_searched_an_average_that_gains_is_named_beside_more_data() -> None:
    step = next_step(replace(EVIDENCE, space=REGULARISED, average=5))
    assert step.change.endswith("would help); until then `tuner predict --average 5` predicts better than the "
                                "winner alone")  # fmt: skip
