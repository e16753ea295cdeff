"""The files of a study's report."""

from __future__ import annotations

from tuner.paths import StudyPaths
from tuner.report.files import write_atomically
from tuner.report.formats import to_csv, to_json, to_markdown
from tuner.report.leaderboard import leaderboard
from tuner.store.reader import StudyData


def write_reports(study: StudyData, paths: StudyPaths) -> None:
    """Write the leaderboard (CSV, JSON, Markdown); each file is whole at any moment."""
    frame = leaderboard(study)
    write_atomically(paths.leaderboard_csv, to_csv(frame, study))
    write_atomically(paths.leaderboard_json, to_json(frame, study))
    write_atomically(paths.leaderboard_md, to_markdown(frame, study))
