"""Paths in a sweep file start at its folder: what becomes of them when it lies elsewhere, and its values as a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.records import Json
from tuner.spec.model import NO_DATA
from tuner.spec.values import is_own

PLACES = {"data": ("source", "dev", "test"), "model": ("kind", "init_from")}
"""The keys that may hold a path."""
FUNCTIONS = {"objective": ("metric",), "training": ("loss", "optimizer"), "search": ("strategy", "pruner")}
"""The keys that may name a function, by the path of its file."""


def move_paths(sweep: dict[str, Any], *, root: Path, folder: Path) -> None:
    """Let the paths in a sweep file's values, which start at `root`, start at `folder`; in place."""
    if sweep.get("command") is not None and root.resolve() != folder.resolve():
        sweep["folder"] = os.path.relpath(root / (sweep.get("folder") or "."), folder)
    if isinstance(trainer := sweep.get("trainer"), str):
        sweep["trainer"] = _moved_path(trainer, root=root, folder=folder)
    if isinstance(trackers := sweep.get("track"), list):
        sweep["track"] = [_moved_path(name, root=root, folder=folder) if is_own(name) else name for name in trackers]
    for block, keys in FUNCTIONS.items():
        part = sweep.get(block)
        if isinstance(part, dict):
            named = {key: part[key] for key in keys if isinstance(part.get(key), str) and is_own(part[key])}
            part.update({key: _moved_path(name, root=root, folder=folder) for key, name in named.items()})
    for block, keys in PLACES.items():
        part = sweep.get(block)
        if isinstance(part, str):
            sweep[block] = _moved_path(part, root=root, folder=folder)
        elif isinstance(part, dict):
            part.update(
                {
                    key: _moved_path(part[key], root=root, folder=folder)
                    for key in keys
                    if isinstance(part.get(key), str)
                }
            )


def _moved_path(target: str, *, root: Path, folder: Path) -> str:
    """The path, or path and function, as seen from another folder; unchanged if nothing is there."""
    place, colon, name = target.rpartition(":")
    is_function = bool(colon) and place.endswith(".py")
    path = root / (place if is_function else target)
    if Path(target).is_absolute() or not _exists(path):
        return target
    return os.path.relpath(path, folder) + (f":{name}" if is_function else "")


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; no for what can be no path."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def stated_sweep(sweep: Mapping[str, Json]) -> dict[str, Json]:
    """The values that a study keeps, as a sweep file states them: without keys that are left at nothing."""
    implied: tuple[str, ...] = ()
    if sweep.get("command") is not None or sweep.get("trainer") is not None:
        data = sweep.get("data")
        has_data = isinstance(data, Mapping) and data.get("source") != NO_DATA
        implied = ("model",) if has_data else ("data", "model")
    stated = {key: _stated(value) for key, value in sweep.items() if key not in implied and value is not None}
    searched = sweep.get("space") or {}  # is fixed nowhere, though the block has a default for it
    for block in ("training", "model"):
        if isinstance(stated.get(block), Mapping):
            stated[block] = {key: value for key, value in stated[block].items() if key not in searched}
    training = stated.get("training")
    if isinstance(training, Mapping) and not training.get("augment") and "augment" not in searched:
        # Kinds of it without its strength are nothing that a file would state, and a reader would warn of.
        stated["training"] = {key: value for key, value in training.items() if not key.startswith("augment_")}
    return stated


def _stated(value: Json) -> Json:
    if not isinstance(value, Mapping):
        return value
    return {key: _stated(part) for key, part in value.items() if part is not None and part != {}}
