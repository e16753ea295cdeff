"""A trained network as the user's own code with its weights, for what no exporter can trace."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuner.imports import load_object
from tuner.models import unpacked as reader
from tuner.models.adapted import columns_of
from tuner.models.build import build_module
from tuner.models.ensemble import fold_seed, parted_weights
from tuner.models.lightning import arguments_of, is_lightning
from tuner.models.packed import packed, save_weights, trained_weights
from tuner.models.unpacked import ATTRIBUTES, BUFFERS, load_trained, unpacked
from tuner.records import DataInfo, Params
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.spec.own_code import code_files, named_code
from tuner.train.loop.storing import storing
from tuner.train.programs.module_state import drawn


def is_own_factory(spec: SweepSpec) -> bool:
    """Whether the network comes of the user's own code."""
    return "model" in named_code(spec)


def _arguments(spec: SweepSpec, params: Params, info: DataInfo) -> dict[str, object] | None:
    """What a LightningModule's class is called with, but for all values and all facts of the data; else None."""
    factory = load_object(spec.model.kind, root=Path(spec.root))
    if not (isinstance(factory, type) and is_lightning(factory)):
        return None
    given = arguments_of(factory, settings_for(spec, params), info, spec=spec)
    return {name: None if name in ("data", "params") else value for name, value in given.items()}


def storing_export(path: Path) -> AbstractContextManager[None]:
    """See `storing`."""
    return storing(path, shown="the export", remedy="make that possible, and export again")


def write_code(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, folder: Path, *, seed: int) -> None:
    """Write code/, weights.pt, network.json, network.py and trained_weights.py.

    Raises:
        StorageError: the weights are damaged, or of another network, or the disk does not take what is written.
    """
    whole = _whole_weights(spec, params, weights, info, seed=seed)
    root = Path(spec.root).resolve()
    files = [(root / file).resolve() for file in code_files(spec, key="model")]
    places = [place for place in dict.fromkeys((root, Path.cwd())) if any(f.is_relative_to(place) for f in files)]
    base = Path(os.path.commonpath([*(file.parent for file in files), *places])) if files else root
    module, _, name = spec.model.kind.rpartition(":")
    known = {
        "model": f"{(root / module).resolve().relative_to(base)}:{name}" if module.endswith(".py") else spec.model.kind,
        "places": [str(place.relative_to(base)) for place in places],
        "values": settings_for(spec, params),
        "arguments": _arguments(spec, params, info),
        "data": asdict(info),
        "inputs": {group: columns_of(names, info, group=group) for group, names in (spec.data.inputs or {}).items()},
        "outputs": spec.model.outputs,
    }
    own = Path(__file__).with_name("standalone_network.py").read_text(encoding="utf-8")
    with storing_export(folder):
        for file in files:
            target = folder / "code" / file.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (folder / "network.json").write_text(json.dumps(known, indent=1), encoding="utf-8")
        save_weights(whole, folder / "weights.pt")
        (folder / "network.py").write_text(own.replace("from tuner.models.unpacked", _BESIDE), encoding="utf-8")
        shutil.copyfile(str(reader.__file__), folder / "trained_weights.py")


_BESIDE = """sys.path.append(str(Path(__file__).parent))
from trained_weights"""


def _whole_weights(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, *, seed: int) -> dict[str, Any]:
    """The weights, with what the module drew as it was built and no state dict has."""
    values = settings_for(spec, params)
    found: dict[str, Any] = {}
    with trained_weights(weights) as read:
        folds = info.folds
        parts = parted_weights(read, folds=folds) if folds else [read]
        for fold, own in enumerate(parts):
            own_seed = fold_seed(seed, fold) if folds else seed
            module, other = (
                build_module(spec, values, info, seed=s, pretrained=False) for s in (own_seed, own_seed + 1)
            )
            load_trained(module, own)
            buffers, attributes = drawn(module, other)
            changed = unpacked(own[ATTRIBUTES]) if ATTRIBUTES in own else {}
            whole = {**own, BUFFERS: packed(buffers), ATTRIBUTES: packed({**attributes, **changed})}
            found |= {f"fold{fold}.{name}" if folds else name: value for name, value in whole.items()}
    return found
