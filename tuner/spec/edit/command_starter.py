"""The sweep file that `tuner init --command` writes: what a script's own options say can be searched."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.records import ParamValue
from tuner.spec.known.hyperparameters import HYPERPARAMETERS

_ALSO_CALLED = {
    "lr": "learning_rate", "alpha": "learning_rate", "wd": "weight_decay", "bs": "batch_size", "batch": "batch_size",
    "train_batch_size": "batch_size", "beta_1": "beta1", "beta_2": "beta2", "eps": "epsilon", "hidden": "hidden_units",
    "hidden_size": "hidden_units", "hidden_dim": "hidden_units", "n_hidden": "hidden_units",
    "num_layers": "hidden_layers", "n_layers": "hidden_layers", "nlayers": "hidden_layers", "nhid": "hidden_units",
    "dropout_rate": "dropout", "drop": "dropout", "opt": "optimizer", "optim": "optimizer", "l2": "weight_decay",
}  # fmt: skip
"""Names of options that stand for a hyperparameter of ours."""
_GIVEN = {
    "epochs": "epochs", "num_epochs": "epochs", "n_epochs": "epochs", "max_epochs": "epochs", "epoch": "epochs",
    "seed": "seed", "random_seed": "seed", "manual_seed": "seed",
}  # fmt: skip
"""Options that tuner sets for each trial."""
_NO_HYPERPARAMETER = re.compile(
    r"worker|thread|interval|freq|every|log|print|verbose|gpu|device|cuda|port|rank|world|node|save|load|resume|"
    r"checkpoint|ckpt|path|dir|file|root|data|url|name|version|test|eval|valid|patience|limit|debug"
)
_FOLD_FLOAT, _FOLD_INT = 10, 4
"""A range goes so many times below and above the option's default."""
_EPOCHS = 10

_TEMPLATE = """\
# A sweep of tuner over a script's own options.
#   tuner check {file}     try it: it proposes how to read the epochs from what the script prints
#   tuner run {file}       run it, or continue it
# A command is described in docs/your-code.md, all keys in docs/sweep-file.md.

study: {study}

command: {command}

objective: {{metric: val_loss}}       # as the script's lines call it; `tuner check` names what they hold
# reports: {{pattern: ...}}           # how to read it, unless the script prints {{"epoch": 1, "val_loss": 0.5}} itself

# The ranges are guesses from the options' defaults: look them over.
space:
{space}
{rest}\
training: {{epochs: {epochs}}}
search: {{trials: 32}}
finalists: {{count: 3, seeds: 3}}     # the best are trained again on fresh seeds, since the best of many is partly luck
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option of a script, as its parser knows it."""

    flag: str
    """As it is written: `--learning-rate`."""
    name: str
    """As the script knows it: `learning_rate`."""
    default: ParamValue | None = None
    choices: tuple[ParamValue, ...] = ()
    is_switch: bool = False
    """Whether it has no value."""


def command_starter(command: str, options: Sequence[Option], *, file: str, study: str) -> str | None:
    """A sweep file over what can be searched of these options; None if there is nothing.

    Args:
        command: As it was given; options that it has already are left as they are.
        options: Of the script.
        file: What the sweep file will be called.
        study: Name of the study.
    """
    given = set(re.findall(r"(?<=\s)--?[\w-]+", command))
    free = [option for option in options if option.flag not in given]
    space: dict[str, str] = {}
    added: list[str] = []
    rest: list[str] = []
    epochs = _EPOCHS
    for option in free:
        plain = option.name.replace("-", "_").lower()
        name = _ALSO_CALLED.get(plain, plain)
        if (ours := _GIVEN.get(plain)) is not None:
            added.append(f"{option.flag} {{{ours}}}")
            if ours == "epochs" and isinstance(option.default, int) and option.default > 0:
                epochs = option.default
        elif name not in space and (part := _dimension(name, option)) is not None:
            space[name] = part
            added.append(f"{option.flag} {{{name}}}")
        else:
            rest.append(option.flag if option.default is None else f"{option.flag} ({option.default})")
    if not space:
        return None
    braced = command.replace("{", "{{").replace("}", "}}")
    return _TEMPLATE.format(
        file=shlex.quote(file),
        study=study,
        command=_quoted(" ".join([braced, *added])),
        space="".join(f"  {name}: {part}\n" for name, part in space.items()),
        rest=f"# Options that are not searched: {', '.join(rest)}\n" if rest else "",
        epochs=epochs,
    )


def _dimension(name: str, option: Option) -> str | None:
    """What may be searched of an option, as a flow mapping; None if nothing."""
    if option.is_switch or _NO_HYPERPARAMETER.search(name):
        return None
    if option.choices:
        own = f", default: {_scalar(option.default)}" if option.default in option.choices else ""
        own += "" if name in HYPERPARAMETERS else ", tier: 2"
        return f"{{choices: [{', '.join(map(_scalar, option.choices))}]{own}}}"
    default = option.default
    if isinstance(default, bool | str) or default is None:
        return None
    known = HYPERPARAMETERS.get(name)
    if known is not None and known.choices:
        offered = [choice for choice in known.choices if type(choice) is type(default)]
        shown = sorted({*offered, default}) if offered else []
        return f"{{choices: [{', '.join(map(_scalar, shown))}], default: {_scalar(default)}}}" if shown else None
    if known is not None and known.low <= default <= known.high:
        return f"{{low: {known.low:g}, high: {known.high:g}, default: {_scalar(default)}}}"
    if default <= 0:
        return None
    if isinstance(default, int):
        low, high = f"{max(1, default // _FOLD_INT)}", f"{default * _FOLD_INT}"
    else:
        low, high = f"{default / _FOLD_FLOAT:g}", f"{default * _FOLD_FLOAT:g}"
    return f"{{low: {low}, high: {high}, log: true, default: {_scalar(default)}, tier: 2}}"


def _scalar(value: ParamValue) -> str:
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    """A text in single quotes of YAML."""
    return "'" + text.replace("'", "''") + "'"
