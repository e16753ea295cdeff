"""How it is found out whether other machines see a study's folder: by a file that is there as long as the run."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from tuner.errors import StorageError
from tuner.paths import StudyPaths, beside


class Token:
    """A file in the folder of a study that says what no other file says; that of a run that was killed is swept up."""

    def __init__(self, paths: StudyPaths) -> None:
        """Write it.

        Raises:
            StorageError: nothing can be written there.
        """
        self.path = beside(paths.token)
        self.said = uuid.uuid4().hex
        folders = (paths.folder, *paths.folder.parents)
        self._made = [folder for folder in folders if not folder.is_dir()]
        try:
            paths.folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.said, encoding="ascii")
        except OSError as error:
            self._remove_folders()
            raise StorageError(
                f"nothing can be written in {paths.folder}, where the study is to be: {error}"
            ) from error

    def remove(self) -> None:
        """Remove it, and of the folders that were made for it those in which nothing else has come to be."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._remove_folders()

    def _remove_folders(self) -> None:
        with suppress(OSError):  # of the first that holds something, or is not there
            for folder in self._made:
                folder.rmdir()


def is_seen(path: Path, *, said: str) -> bool:
    """Whether the file is seen from here, on whatever machine this is."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii") == said
    return False
