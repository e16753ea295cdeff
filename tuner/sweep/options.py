"""Where and how a sweep runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.execute.open import Where
from tuner.sweep.on_parts import PartsPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Where and how a sweep runs; the sweep file says what."""

    results: Path = Path("results")
    store_url: str | None = None
    engine: str = "local"
    address: str | None = None
    """Of a Ray cluster."""
    devices: tuple[str, ...] = ()
    workers: int | None = None
    seconds: float | None = None
    """Wall-clock time for this run; then it checkpoints and ends, to be continued."""
    fresh: bool = False
    retry_failed: bool = False
    confirm_only: bool = False
    """Search no further: only train the finalists again."""
    parts: PartsPlan | None = None
    """Search no further: only train on these parts of the training examples."""
    command: str = ""
    """What goes on with this run in a shell, without passwords; kept in the study for `tuner status`."""

    @property
    def searches(self) -> bool:
        return not self.confirm_only and self.parts is None

    @property
    def where(self) -> Where:
        return Where(engine=self.engine, address=self.address, devices=self.devices, workers=self.workers)
