"""When failures are no longer the trials' own: the same one again and again ends the sweep."""

from __future__ import annotations

import re

from tuner.errors import FailureLimitError
from tuner.records import FailureReason, TrialRecord, TrialState

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


class FailureCount:
    """Counts trials that fail in a row in the same way: with the same message, its numbers aside."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self.anything_reported = False
        """Whether a trial of the study has reported an epoch; if not, code that reports nothing never will."""
        self._kind = ""
        self._count = 0

    def add(self, record: TrialRecord) -> None:
        """Take note of how a trial ended. What is its configuration's fault does not count.

        Raises:
            FailureLimitError: it was one failure too many, or none of the study's trials reports anything.
        """
        if record.state is not TrialState.FAILED:
            self._kind, self._count = "", 0
            return
        if record.reason.startswith((FailureReason.DIVERGED, FailureReason.INFEASIBLE)):
            return
        if record.reason.startswith(FailureReason.NO_REPORT) and not self.anything_reported:
            raise FailureLimitError(
                f"{record.name} has trained for {record.seconds:.1f} s in vain, so the sweep was stopped: "
                f"{record.reason}\nmend it, look with `tuner check`, and run again with --retry-failed"
            )
        kind = _NUMBER.sub("#", record.reason)
        self._count = self._count + 1 if kind == self._kind else 1
        self._kind = kind
        if self._count >= self._limit:
            raise FailureLimitError(
                f"the last {self._count} trials failed in the same way, so the sweep was stopped: {record.reason}\n"
                f"see the whole story in the log of {record.name}, mend the cause and run again with "
                "--retry-failed; or raise limits.consecutive_failures"
            )
