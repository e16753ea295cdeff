"""`tuner watch`: the report's page of one study or several, live, for this machine only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.completion import studies as complete_studies
from tuner.cli.locate import locate, location_options
from tuner.errors import StudyNotFoundError, TunerError
from tuner.paths import StudyPaths

if TYPE_CHECKING:
    from tuner.report.live.study import LiveStudy


@click.command()
@click.argument("study", nargs=-1, shell_complete=complete_studies)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one by default.")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@location_options
def watch(study: tuple[str, ...], port: int | None, open_it: bool, results: Path, store: str | None) -> None:
    """Show STUDY live in the browser: the page of report.html, which follows the sweep, until Ctrl-C.

    Several studies, or without one all of the results folder, have a list. It only reads, and listens on 127.0.0.1
    alone; from another machine, use a tunnel: ssh -L 8088:127.0.0.1:8088 HOST

    Example: tuner watch digits --open
    """
    from urllib.parse import quote

    from tuner.report.live.server import LiveServer

    shown = _Studies(study, results=results, store=store)
    with LiveServer(shown, port=port) as server:
        only = next(iter(shown.known)) if len(study) == 1 else None
        address = server.address + (f"{quote(only, safe='')}/" if only else "")
        click.echo(f"{address}   (Ctrl-C ends it)")
        if open_it:
            import webbrowser

            webbrowser.open(address)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            click.echo("no longer served", err=True)


class _Studies:
    """The studies to show: those that were named, or all of the folder, also such as begin later."""

    def __init__(self, names: tuple[str, ...], *, results: Path, store: str | None) -> None:
        from tuner.report.live.study import LiveStudy

        self._results = None if names else results
        self.known: dict[str, LiveStudy] = {}
        for name in names:
            found = locate(name, results=results, store=store)
            self.known[found.study] = LiveStudy(found.paths, study=found.study, url=store)
        if not names and store is not None:
            raise click.UsageError("name the studies of --store: tuner watch STUDY --store URL")
        if not names and not self():
            raise StudyNotFoundError(f"there are no studies in {results}/; `tuner run SWEEP` makes one")

    def __call__(self) -> Mapping[str, LiveStudy]:
        from tuner.report.live.study import LiveStudy

        for folder in sorted(self._results.glob("*/")) if self._results is not None else ():
            paths = StudyPaths(folder.resolve())
            if folder.name not in self.known and paths.database.exists():
                try:
                    self.known[folder.name] = LiveStudy(paths, study=folder.name)
                except TunerError:  # it is being made, or another program's: `tuner ls` says what is wrong
                    continue
        return dict(self.known)
