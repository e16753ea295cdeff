"""`tuner schema`: the JSON Schema of sweep files."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of sweep files, for completion and checks in an editor.

    Example: tuner schema > sweep.schema.json, and as the first line of a sweep file:
    # yaml-language-server: $schema=sweep.schema.json
    """
    from tuner.spec.schema import sweep_schema

    click.echo(json.dumps(sweep_schema(), indent=2, ensure_ascii=False))
