"""Names in a sweep file: which are allowed, and which one was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # pydantic searches, so it needs its ends
STUDY_NAME_RULE = "must begin with a letter or a digit and hold only letters, digits, `.`, `_` and `-`"
MAX_STUDY_NAME = 100

PARAMETER_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
RESERVED_NAMES = frozenset(
    {"rank", "trial", "state", "gap", "parameters", "best_epoch", "seconds", "reason", "tier", "seed", "value"}
)
"""Columns of the leaderboard that a hyperparameter of the same name would hide."""
RESERVED_PREFIXES = ("dev_", "train_", "test_")

_SYNONYMS = {
    "lr": "learning_rate",
    "alpha": "learning_rate",
    "step_size": "learning_rate",
    "beta": "momentum",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "bs": "batch_size",
    "minibatch": "batch_size",
    "width": "hidden_units",
    "units": "hidden_units",
    "neurons": "hidden_units",
    "hidden_size": "hidden_units",
    "hidden_dim": "hidden_units",
    "layers": "hidden_layers",
    "depth": "hidden_layers",
    "num_layers": "hidden_layers",
    "n_layers": "hidden_layers",
    "filters": "channels",
    "batch_norm": "norm",
    "layer_norm": "norm",
    "normalization": "norm",
    "skip_connections": "residual",
    "logistic": "linear",
    "logistic_regression": "linear",
    "decay": "lr_decay",
    "gamma": "lr_decay",
    "scheduler": "schedule",
    "l2": "weight_decay",
    "wd": "weight_decay",
    "keep_prob": "dropout",
    "gradient_clipping": "clip_norm",
    "max_grad_norm": "clip_norm",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "n_trials": "trials",
    "num_trials": "trials",
    "sampler": "strategy",
    "method": "strategy",
    "min": "low",
    "max": "high",
    "values": "choices",
    "name": "study",
    "dataset": "data source",
    "file": "source",
    "path": "source",
    "column": "target",
    "acc": "accuracy",
    "auc": "auroc",
    "roc_auc": "auroc",
    "mse": "rmse",
    "val_loss": "loss",
    "bayes": "gp",
    "bayesian": "gp",
    "sobol": "qmc",
    "successive_halving": "asha",
    "parameters": "space",
    "hyperparameters": "space",
    "search_space": "space",
    "validation": "dev",
    "val": "dev",
    "valid": "dev",
    "label": "target",
    "type": "kind",
    "optimiser": "optimizer",
    "regularization": "regularisation",
    "normalize": "normalise",
}
"""What other tools and texts call ours, in order of likelihood; suggested only where ours is allowed."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that was probably meant; None if none is near."""
    options = [k for k in known if k != name]
    synonyms = _SYNONYMS.get(name.lower().replace("-", "_"), "").split()
    if synonym := next((s for s in synonyms if s in options), None):
        return synonym
    import difflib

    near = difflib.get_close_matches(name.lower(), options, n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`Did you mean "momentum"?`, or nothing."""
    near = nearest(name, known, cutoff=cutoff)
    return f'Did you mean "{near}"?' if near else ""
