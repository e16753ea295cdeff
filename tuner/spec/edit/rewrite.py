"""Changing values of a sweep file while its comments, its order and its style stay."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tuner.records import Params, ParamValue
from tuner.spec.by_layer import as_text
from tuner.spec.edit.moving import move_paths
from tuner.spec.known.networks import MODEL
from tuner.spec.space import ARCHITECTURE_TIER, REGULARISATION_TIER, Dimension, Refinement, Space

_NEVER_WRAPPED = 10_000
_REMARK = r"(?:zoomed|widened) to [^;\n]+: the best \d+ trials [^;\n]+"
"""What an earlier call wrote beside a range; a newer one takes its place."""


def rewrite_sweep(
    text: str,
    *,
    study: str,
    space: Space,
    changes: Sequence[Refinement],
    start: Params | None,
    folders: tuple[Path, Path] | None = None,
) -> str:
    """A sweep file with another study's name, other ranges and a configuration to start with.

    Args:
        text: The sweep file, sound.
        study: The new study's name.
        space: What the file searches: written out if the file leaves `space:` to the defaults.
        changes: The dimensions that change; each line gets its remark as a comment.
        start: The first configuration to try, before those that the file lists already and that still fit.
        folders: Where the file lies, and where the new one will: paths in it are relative to its folder.
    """
    yaml = YAML()  # YAML 1.2, round trip
    yaml.preserve_quotes = True
    yaml.width = _NEVER_WRAPPED
    yaml.indent(mapping=2, sequence=4, offset=2)
    document: Any = yaml.load(_without_earlier_remarks(text))
    document["study"] = study
    if folders is not None:
        move_paths(document, root=folders[0], folder=folders[1])
    is_new = document.get("space") is None
    if is_new:
        _insert_space(document, space)
    for change in changes:
        if change.kind == "dropped":
            del document["space"][change.dimension.name]
        else:
            _put(document["space"], change)
    changed = {change.dimension.name: change.dimension for change in changes if change.kind != "dropped"}
    space = Space(tuple(changed.get(d.name, d) for d in space if d.name in document["space"] or d.name == MODEL))
    _trim_conditions(document["space"], space)
    _trim_starts(document, space)
    if start is not None:
        _put_start(document, start, space)
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    written = buffer.getvalue()
    return written.replace("\ntraining:", "\n\ntraining:", 1) if is_new else written


def _without_earlier_remarks(text: str) -> str:
    text = re.sub(rf"^ *# {_REMARK}\n", "", text, flags=re.MULTILINE)
    text = re.sub(rf"# {_REMARK}; ", "# ", text)
    return re.sub(rf" +# {_REMARK}$", "", text, flags=re.MULTILINE)


def _insert_space(document: Any, space: Space) -> None:
    block = CommentedMap({d.name: _written(d) for d in space if d.name != MODEL})  # which has a block of its own
    document.pop("space", None)
    place = list(document).index("training") if "training" in document else len(document)
    document.insert(place, "space", block)


def _put(block: Any, change: Refinement) -> None:
    dimension = change.dimension
    given = block.get(dimension.name)
    written = given if isinstance(given, CommentedMap) else _written(dimension)
    for key, value in _values(dimension).items():
        if isinstance(value, list):
            sequence = CommentedSeq(value)
            sequence.fa.set_flow_style()
            written[key] = sequence
        else:
            written[key] = value
    for key in ("guess", "sure"):  # what was found takes their place
        written.pop(key, None)
    if "default" in written:
        written["default"] = _plain(dimension, dimension.default)
    block[dimension.name] = written
    # A flow mapping stands on one line, which takes the comment; a block mapping takes it above.
    if written.fa.flow_style() is False:
        block.yaml_set_comment_before_after_key(dimension.name, before=change.text, indent=2)
    else:
        earlier = _comment_on(block, dimension.name)
        block.yaml_add_eol_comment("; ".join([change.text, *earlier]), dimension.name)


def _comment_on(block: Any, key: str) -> list[str]:
    """The comment that stands on a key's line already."""
    for holder in (block.ca.items.get(key), getattr(block[key], "ca", None) and block[key].ca.comment):
        for token in holder or ():
            if token is not None and hasattr(token, "value") and not token.value.startswith("\n"):
                text = token.value.splitlines()[0].lstrip("# ").strip()
                return [text] if text else []
    return []


def _trim_conditions(block: Any, space: Space) -> None:
    """Take out of each `when` what the dimension that it names cannot be any more."""
    for dimension in space:
        given = block.get(dimension.name)
        for name, allowed in (given.get("when") or {}).items() if isinstance(given, CommentedMap) else ():
            if isinstance(allowed, list):
                allowed[:] = [value for value in allowed if _fits(space[name], value)]


def _trim_starts(document: Any, space: Space) -> None:
    """Take out the configurations that lie outside."""
    listed: Any = (document.get("search") or {}).get("start") or []
    for index in reversed(range(len(listed))):
        if not all(name in space.names and _fits(space[name], value) for name, value in listed[index].items()):
            del listed[index]


def _fits(dimension: Dimension, value: Any) -> bool:
    value = as_text(value)
    return value in dimension.choices if dimension.kind == "categorical" else dimension.contains(value)


def _put_start(document: Any, start: Params, space: Space) -> None:
    search = document.setdefault("search", CommentedMap())
    if "start" not in search:
        # Before the last key, since what follows the block (an empty line, a comment) belongs to that one.
        search.insert(max(0, len(search) - 1), "start", CommentedSeq())
    search.fa.set_block_style()
    listed = search["start"]
    listed.fa.set_block_style()
    first = CommentedMap({name: _short(space[name], value) for name, value in start.items()})
    first.fa.set_flow_style()
    if first not in list(listed):
        listed.insert(0, first)


def _short(dimension: Dimension, value: ParamValue) -> ParamValue:
    """A number as it is written, unless that lies outside."""
    short = _plain(dimension, value)
    return short if dimension.contains(short) else value


def _written(dimension: Dimension) -> CommentedMap:
    written = CommentedMap()
    for key, value in _values(dimension).items():
        if isinstance(value, list):
            sequence = CommentedSeq(value)
            sequence.fa.set_flow_style()
            written[key] = sequence
        else:
            written[key] = value
    if dimension.scale == "log":
        written["log"] = True
    if dimension.step is not None:
        written["step"] = dimension.step
    if dimension.tier != ARCHITECTURE_TIER:  # which it has by the models that have it
        written["tier"] = "regularisation" if dimension.tier == REGULARISATION_TIER else dimension.tier
    written["default"] = _plain(dimension, dimension.default)
    if dimension.when:
        when = CommentedMap({name: list(allowed) for name, allowed in dimension.when.items()})
        when.fa.set_flow_style()
        written["when"] = when
    written.fa.set_flow_style()
    return written


def _values(dimension: Dimension) -> Mapping[str, ParamValue | list[ParamValue]]:
    if dimension.kind == "categorical":
        return {"choices": list(dimension.choices)}
    return {"low": _plain(dimension, dimension.low), "high": _plain(dimension, dimension.high)}


def _plain(dimension: Dimension, value: ParamValue) -> ParamValue:
    """A number as its kind is written; a float short enough to read."""
    if dimension.kind == "int":
        return int(value)
    if dimension.kind == "float" and dimension.scale == "log1m":
        return float(f"{1 - float(f'{1 - float(value):.6g}'):.12g}")
    if dimension.kind == "float":
        return float(f"{float(value):.6g}")
    return value
