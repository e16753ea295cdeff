"""`tuner dashboard`: optuna-dashboard on a study, for this machine only."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from tuner.cli.completion import studies
from tuner.cli.locate import locate, location_options
from tuner.errors import UsageError


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on.")
@location_options
def dashboard(study: str, port: int, results: Path, store: str | None) -> None:
    """Show STUDY in optuna-dashboard (extra: dashboard), until Ctrl-C.

    It listens on 127.0.0.1 alone, since whoever reaches it can delete studies without a password. From another
    machine, use a tunnel: ssh -L 8080:127.0.0.1:8080 HOST
    """
    from tuner.imports import require

    package = require("optuna_dashboard", extra="dashboard")
    from tuner.store.opening import open_for_dashboard

    location = locate(study, results=results, store=store)
    storage = open_for_dashboard(location.paths, study=location.study, url=location.store_url)
    _check_free(port)
    click.echo(f"http://127.0.0.1:{port}/   (Ctrl-C ends it)", err=True)
    package.run_server(storage, host="127.0.0.1", port=port)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} is taken ({error.strerror}); choose another with --port") from error
