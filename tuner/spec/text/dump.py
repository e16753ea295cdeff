"""Writing values as YAML that `tuner.spec.reader` reads back equal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from tuner.records import Json


def to_yaml(values: Mapping[str, Json], *, heading: str = "") -> str:
    """Plain values as a YAML document in block style.

    Args:
        values: What to write.
        heading: Lines of a comment above it.
    """
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    buffer = io.StringIO()
    yaml.dump(dict(values), buffer)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    return comment + buffer.getvalue()
