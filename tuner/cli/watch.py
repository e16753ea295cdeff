"""`tuner watch`: the report's page of one study or several, live, for this machine only."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.completion import studies as complete_studies
from tuner.cli.locate import location_options
from tuner.errors import StudyNotFoundError, TunerError
from tuner.paths import StudyPaths
from tuner.python.locate import locate, place_of

if TYPE_CHECKING:
    from tuner.report.live.study import LiveStudy


@click.command()
@click.argument("study", nargs=-1, shell_complete=complete_studies)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; a free one by default.")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@location_options
def watch(study: tuple[str, ...], port: int | None, open_it: bool, results: Path, store: str | None) -> None:
    """Show STUDY live in the browser: the page of report.html, which follows the sweep, until Ctrl-C.

    Several studies, or without one all of the results folder, have a list. A study that has not begun yet is waited
    for. It only reads, and listens on 127.0.0.1 alone; from another machine, use a tunnel:
    ssh -L 8088:127.0.0.1:8088 HOST

    Example: tuner watch digits --open
    """
    from urllib.parse import quote

    from tuner.report.live.server import LiveServer

    shown = Studies(study, results=results, store=store)
    with LiveServer(shown, port=port) as server:
        only = next(iter(shown())) if len(study) == 1 else None
        address = server.address + (f"{quote(only, safe='')}/" if only else "")
        click.echo(f"{address}   (Ctrl-C ends it)")
        if open_it:
            import webbrowser

            webbrowser.open(address)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            click.echo("no longer served", err=True)


class Studies:
    """The studies to show: those that were named, also before they begin, or all of the folder as they do."""

    def __init__(self, names: tuple[str, ...], *, results: Path, store: str | None) -> None:
        if not names and store is not None:
            raise click.UsageError("name the studies of --store: tuner watch STUDY --store URL")
        self._results, self._store = results, store
        self._lock = threading.Lock()
        self._known: dict[str, LiveStudy] = {}
        self._named: dict[str, StudyPaths] = {}
        for name in names:
            place = place_of(name, results=results, store=store)
            self._named[place.study] = place.paths
            try:
                locate(name, results=results, store=store)
                self._open(place.study, place.paths)
            except StudyNotFoundError as error:
                click.echo(f"{error} Its page waits for it.", err=True)
        if not names and not self():
            click.echo(f"there are no studies in {results}/ yet: they are listed as they begin", err=True)

    def __call__(self) -> Mapping[str, LiveStudy | None]:
        """By name, None for one that has not begun."""
        with self._lock:  # one that is asked for twice is read once
            for name, paths in self._places():
                if name not in self._known:
                    try:
                        self._open(name, paths)
                    except TunerError:  # it is being made, or another program's: `tuner ls` says what is wrong
                        continue
            return {name: self._known.get(name) for name in self._named or self._known}

    def _places(self) -> Iterator[tuple[str, StudyPaths]]:
        if self._named:
            yield from self._named.items()
            return
        for folder in sorted(self._results.glob("*/")):
            if (paths := StudyPaths(folder.resolve())).database.exists():
                yield folder.name, paths

    def _open(self, name: str, paths: StudyPaths) -> None:
        from tuner.report.live.study import LiveStudy

        self._known[name] = LiveStudy(paths, study=name, url=self._store)
