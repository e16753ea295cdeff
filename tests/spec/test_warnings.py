"""What is allowed and probably not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.helpers import HEAD, read, warnings_of
from tuner.spec.reader import parse_sweep

CUSTOM = "model: net.py:build\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("space: {learning_rate: {low: 1e-4, high: 0.2, log: false}}",
         ["3:52: space.learning_rate.log: searches learning_rate on a linear scale over 3 decades: nearly all trials "
          "fall into the upper decade, got false; remove `log: false`"]),
        ("space: {weight_decay: {low: 0, high: 0.1, log: false}}",
         ["3:48: space.weight_decay.log: searches weight_decay on a linear scale: nearly all trials fall into the "
          "upper decade, got false; remove `log: false`"]),
        ("space: {learning_rate: {low: 1e-3, high: 20}}",
         ["3:42: space.learning_rate.high: is a learning rate that hardly any network survives, got 20; "
          "write 1 or less"]),
        ("training: {learning_rate: 20}",
         ["3:27: training.learning_rate: is a learning rate that hardly any network survives, got 20; "
          "write 1 or less"]),
        ("training: {batch_size: 50000}",
         ["3:24: training.batch_size: is a very large mini-batch, got 50000; write `full` for all of the training "
          "set"]),
        ("training: {optimizer: adam, momentum: 0.9}",
         ["3:29: training.momentum: has no effect with optimizer adam; remove it"]),
        ("training: {nesterov: true, momentum: 0}",
         ["3:12: training.nesterov: has no effect: momentum is 0; remove it"]),
        ("training: {l1_step: proximal}",
         ["3:12: training.l1_step: has no effect: l1 is 0; add l1, or search it"]),
        ("training: {dampening: 0.5, momentum: 0}",
         ["3:12: training.dampening: has no effect: momentum is 0; remove it"]),
        ("training: {optimizer: rmsprop, bias_correction: false}",
         ["3:32: training.bias_correction: has no effect with optimizer rmsprop; remove it"]),
        ("search: {strategy: staged, regularisation: always}",
         ["3:28: search.regularisation: has no effect with strategy staged; remove it"]),
        ("training: {schedule: constant, lr_decay: 0.1}",
         ["3:32: training.lr_decay: has no effect with schedule constant; remove it, or use another schedule"]),
        ("training: {schedule: one_cycle, lr_decay: 0.1}",
         ["3:33: training.lr_decay: has no effect with schedule one_cycle; remove it, or use another schedule"]),
        ("training: {averaging: ema, swa_start: 0.5}",
         ["3:28: training.swa_start: has no effect with averaging ema; add averaging: swa, or remove it"]),
        ("training: {augment_flip: true}",
         ["3:12: training.augment_flip: has no effect: augment, the strength of all kinds, is 0; add augment: 0.5, or "
          "search it"]),
        ("training: {epochs: 5, early_stopping: {patience: 5}}",
         ["3:50: training.early_stopping.patience: never stops a trial of 5 epochs, got 5; write a smaller number"]),
        ("space: {optimizer: {}, beta1: {}}",
         ["3:24: space.beta1: has no effect where the optimizer is sgd; add `when: {optimizer: adam}`"]),
        ("space: {optimizer: {choices: [sgd, adam, adamw]}, beta2: {}}",
         ["3:51: space.beta2: has no effect where the optimizer is sgd; add `when: {optimizer: [adam, adamw]}`"]),
        ("space: {momentum: {low: 0.9, high: 0.9}}",
         ["3:9: space.momentum: has only one value; fix it under `training:` or `model:` instead"]),
        ("space: {dropout: {low: 0, high: 0.5, step: 0.2}}",
         ["3:44: space.dropout.step: does not lead from low to high, so 0.4 is the greatest value, got 0.2"]),
        (CUSTOM + "space: {width: {low: 1, high: 10000, tier: 2}}",
         ["4:9: space.width: is linear over 4 decades: nearly all trials fall into the upper decade; "
          "add `log: true`"]),
        (CUSTOM + "space: {width: {low: 1, high: 9}}",
         ["4:9: space.width: is a hyperparameter of your own without a tier, searched in tier 2; "
          "add `tier: 1`, 2, 3 or regularisation"]),
        (CUSTOM + "space: {learning_rat: {low: 0.1, high: 1.0, tier: 2}}",
         ["4:9: space.learning_rat: is passed to your model as a hyperparameter of your own. "
          'Did you mean "learning_rate"?']),
        ("space: {learning_rate: {}}\nsearch: {strategy: grid}",
         ["3:9: space.learning_rate: is a continuum, of which strategy grid takes a few levels; give it `step:` or "
          "`choices:` to choose them"]),
        ("space: {batch_size: {}, nesterov: {}}\nsearch: {trials: 9}",
         ["4:18: search.trials: is more than the 8 configurations of the space, got 9; the search ends when all are "
          "tried"]),
        ("search: {trials: 8, strategy: tpe}",
         ["3:18: search.trials: is so few that strategy tpe draws all of them at random, got 8; write 12 or more, or "
          "use strategy priority"]),
        ("model: {kind: mlp, hidden_layers: 1}\ntraining: {dropout: 0.5, dropout_last: 0.3}",
         ["4:26: training.dropout_last: has no effect: the mlp has one dropout layer, whose rate is `dropout`; "
          "remove it"]),
        ("space: {hidden_layers: {low: 1, high: 3}, dropout: {}, dropout_last: {}}",
         ["3:56: space.dropout_last: has no effect where hidden_layers is 1: the mlp has one dropout layer, whose rate "
          "is `dropout` there; add `when: {hidden_layers: [2, 3]}`"]),
        ("model: linear\ntraining: {dropout: 0.5}",
         ["4:12: training.dropout: has no effect: the linear has no dropout layer; remove it"]),
        ("search: {trials: 3}\nfinalists: {count: 5}",
         ["4:20: finalists.count: is more than search.trials (3), got 5; raise trials, or lower count"]),
        ("search: {start: [{momentum: 0.8}, {momentum: 0.8}]}",
         ["3:35: search.start[1]: is listed already and is tried once; remove it"]),
        ("search: {synchronous: 8, stop: {seconds: 60}}",
         ["3:33: search.stop.seconds: ends the search by the clock: with `synchronous:` it is the same each time but "
          "for its end; stop by epochs or trials"]),
        ("search: {trials: 1, start: [{momentum: 0.8}, {momentum: 0.7}]}",
         ["3:21: search.start: lists 2 configurations, more than search.trials (1); raise trials"]),
        ("space: {nesterov: {}, momentum: {when: {nesterov: true}}}\n"
         "search: {start: [{nesterov: false, momentum: 0.9}]}",
         ["4:36: search.start[0].momentum: does not apply here: its `when` does not hold; remove it"]),
    ],
)  # fmt: skip
def test_warnings(text: str, expected: list[str]) -> None:
    assert warnings_of(text) == [f"s.yaml:{line}" for line in expected]


@pytest.mark.parametrize(
    "text",
    [
        "space: {learning_rate: {low: 1e-4, high: 1.0}}",
        "space: {learning_rate: {low: 1e-4, high: 1.0, log: true}}",
        "space: {learning_rate: {low: 0.1, high: 1.0, log: false}}",
        "space: {momentum: {low: 0, high: 0.999}}",
        "space: {beta2: {low: 0.9, high: 0.9999}}\ntraining: {optimizer: adam}",
        "space: {optimizer: {}, beta1: {when: {optimizer: adam}}}",
        "training: {optimizer: rmsprop, momentum: 0.9, beta2: 0.99}",
        "training: {optimizer: adam, momentum: 0}",
        "space: {hidden_layers: {low: 1, high: 3}, dropout_last: {when: {hidden_layers: [2, 3]}}}",
        "model: transformer\ntraining: {dropout_last: 0.3}",
        "search: {trials: 12, strategy: gp}",
        "search: {trials: 4, strategy: random}",
        "training: {nesterov: false, optimizer: adam}",
        "training: {bias_correction: false, optimizer: adam, epsilon: 0.1}",
        "training: {dampening: auto, bias_correction: true}",
        "training: {nesterov: true}",
        "space: {momentum: {}}\ntraining: {nesterov: true}",
        "search: {regularisation: always}",
        CUSTOM + "space: {width: {low: 1, high: 10000, log: true, tier: 2}}",
        CUSTOM + "space: {offset: {low: 0, high: 10000, tier: 2}}",
        "space: {batch_size: {}, nesterov: {}}\nsearch: {trials: 8, strategy: grid}",
        "space: {nesterov: {}, momentum: {when: {nesterov: true}}}\nsearch: {start: [{nesterov: true, momentum: 0.9}]}",
    ],
)
def test_what_is_usual_gives_no_warning(text: str) -> None:
    read(text)


def test_errors_do_not_hide_behind_warnings_of_the_same_value() -> None:
    assert HEAD.endswith("\n")
    with pytest.raises(Exception, match="must be at most high") as caught:
        warnings_of("space: {learning_rate: {low: 50, high: 20}}")
    assert "survives" not in str(caught.value)


LOOP = "study: s\nobjective: {metric: accuracy}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What holds for our networks is no rule for the user's own code.
        ("command: t {params}\nspace: {learning_rate: {low: 0.1, high: 40}, activation: {choices: [relu, mish]}}", []),
        ("command: t {params}\nspace: {batch_size: {low: 1, high: 2}}\ntraining: {learning_rate: 20}", []),
        ("command: t {params}\nspace: {dropout: {low: 0, high: 2}}", []),
        ("command: t {params} {to_epoch} {epochs}\nspace: {batch_size: {}}", []),
        ("command: t {params} {to_epoch}\nspace: {batch_size: {}}\nsearch: {pruner: none}", []),
        ("command: t {params} {to_epoch}\nspace: {batch_size: {}}",
         ["s.yaml:3:10: command: has {to_epoch}, where a trial may only pause: a schedule that is laid out over it "
          "ends at the first pause; add {epochs}, of the full training, for schedules"]),
    ],
)  # fmt: skip
def test_warnings_of_own_training_code(text: str, expected: list[str]) -> None:
    assert list(parse_sweep(LOOP + text + "\n", name="s.yaml", root=Path("/sweeps"))[1]) == expected
