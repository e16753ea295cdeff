"""`tuner note`: what people think of a study, or of a trial."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.completion import studies, trials
from tuner.cli.locate import locate, location_options
from tuner.errors import UsageError


@click.command()
@click.argument("study", shell_complete=studies)
@click.argument("words", nargs=-1, metavar="[TRIAL] [TEXT]", shell_complete=trials)
@click.option("--tag", "tags", multiple=True, help="A word to find it by; repeatable.")
@click.option("--remove", is_flag=True, help="Take away what was noted of the study, or of the trial.")
@location_options
def note(
    study: str, words: tuple[str, ...], tags: tuple[str, ...], remove: bool, results: Path, store: str | None
) -> None:
    """Note TEXT, or tags, of STUDY or of one of its trials; without either, print what is noted.

    Tables, `tuner show`, `status`, `ls` and the report show it. It may be done while the sweep runs.

    Example: tuner note digits 17 "loss jumps at epoch 3" --tag odd
    """
    from tuner.report.words.escape import visible
    from tuner.store.notes import Note, add_note, notes_in_words, read_notes
    from tuner.store.reader import read_study

    location = locate(study, results=results, store=store)
    number = int(words[0]) if words and words[0].isdecimal() else None
    text = " ".join(words if number is None else words[1:]).strip()
    if remove and (text or tags):
        raise UsageError("--remove takes away all that is noted there; leave out what is to be noted")
    data = read_study(location.paths, study=location.study, url=location.store_url, with_rungs=False)
    if number is not None and number not in {record.number for record in data.records}:
        raise UsageError(f'study "{location.study}" has no trial {number}; a text that is a number needs words with it')
    if text or tags or remove:
        tagged = tuple(tag.strip().lstrip("#") for tag in tags if tag.strip().lstrip("#"))
        add_note(location.paths.notes, Note(trial=number, text=text, tags=tagged, removes=remove))
        return
    found = notes_in_words(read_notes(location.paths.notes))
    for trial, line in found.items():
        if number in (None, trial):
            click.echo(f"{'study' if trial is None else f'trial {trial}'}\t{visible(line)}")
    if not found:
        click.echo(f"nothing is noted of {location.study}", err=True)
