"""The lease on a study as its database keeps it: one row, read and written within its transactions."""

from __future__ import annotations

from time import monotonic

from sqlalchemy import Connection, delete, insert

from tuner.errors import StorageError
from tuner.store.causes import LeaseLostError
from tuner.store.codec import LEASE_ATTRIBUTE
from tuner.store.lease import BEAT_SECONDS, Lease
from tuner.store.tables import SELECT_SYSTEM, SYSTEM, UPDATE_SYSTEM, lock_study


class ClaimedStudy:
    """A study that this process means to be the only writer of."""

    def __init__(self, study_id: int, *, shown: str) -> None:
        self._study_id = study_id
        self._shown = shown
        self._lease: Lease | None = None
        self._beat_at = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether it was claimed and not given back; it may have been taken over since."""
        return self._lease is not None

    def claim(self, connection: Connection, lease: Lease) -> None:
        """Take the study.

        Raises:
            StorageError: a living process has it; the message names it.
        """
        lock_study(connection, self._study_id)
        holder = self._holder(connection)
        if holder is not None and holder.alive:
            raise StorageError(
                f"the study in {self._shown} is run by {holder}; wait for it, or stop it, before running it here"
            )
        self._delete(connection)
        row = {"study_id": self._study_id, "key": LEASE_ATTRIBUTE, "value_json": lease.to_json()}
        connection.execute(insert(SYSTEM), row)
        self._lease = lease
        self._beat_at = monotonic()

    def keep(self, connection: Connection) -> None:
        """Make sure, within the transaction, that the study is still ours, and say that we live.

        Raises:
            LeaseLostError: another process has taken it over.
        """
        assert self._lease is not None
        holder = self._holder(connection)
        if holder is None or holder.token != self._lease.token:
            raise LeaseLostError(f"the study in {self._shown} was taken over by {holder or 'another process'}")
        if monotonic() - self._beat_at >= BEAT_SECONDS:
            self._lease = self._lease.renewed()
            row = {"of_study": self._study_id, "of_key": LEASE_ATTRIBUTE, "text": self._lease.to_json()}
            connection.execute(UPDATE_SYSTEM, row)
            self._beat_at = monotonic()

    def release(self, connection: Connection) -> None:
        """Give the study back, unless it is another's by now."""
        holder = self._holder(connection)
        if self._lease is not None and holder is not None and holder.token == self._lease.token:
            self._delete(connection)
        self._lease = None

    def _holder(self, connection: Connection) -> Lease | None:
        found = connection.execute(SELECT_SYSTEM, {"of_study": self._study_id, "of_key": LEASE_ATTRIBUTE}).first()
        return None if found is None else Lease.from_json(found[0])

    def _delete(self, connection: Connection) -> None:
        connection.execute(delete(SYSTEM).where(SYSTEM.c.study_id == self._study_id, SYSTEM.c.key == LEASE_ATTRIBUTE))
