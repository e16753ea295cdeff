"""The programs of paused trials, kept stopped for as long as there is memory for them."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

SHARE = 0.5
"""Of the memory that is free, so much may be held by the stopped programs of a worker."""
FEWEST = 3
"""Of fewer that were kept the least promising is none: it may be as good as any."""


class _Stoppable(Protocol):
    """A running program."""

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        ...

    def stop(self) -> None:
        """Keep it from computing."""
        ...

    def close(self) -> None:
        """End it."""
        ...


_P = TypeVar("_P", bound=_Stoppable)


@dataclass(frozen=True, slots=True)
class Offer(Generic[_P]):
    """A program that might be kept."""

    folder: str
    """Its trial's."""
    program: _P
    cost: float
    """How good its trial is, smaller for better."""
    give_up: Callable[[], None]
    """Notes that its trial is not to go on."""


class Kept(Generic[_P]):
    """Those of one worker."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._offers: dict[str, Offer[_P]] = {}
        self._bytes: dict[str, int] = {}
        self.free_bytes: Callable[[], int | None] = lambda: None
        """Says how much memory the machine has left; None where it is not known."""
        self.tell: Callable[[frozenset[str]], None] = lambda folders: None
        """Is told whose programs are kept, whenever that changes."""

    def keep(self, offer: Offer[_P]) -> bool:
        """Stop a program; False if there is no memory for it. Or the least promising of all is given up for another.

        A program may only be left stopped where it would be ended with its worker, whatever becomes of that.
        """
        if not hasattr(fcntl, "F_SETSIG"):
            return False
        offer.program.stop()
        size = offer.program.num_bytes
        if not self._fits(size):
            worst = max([*self._offers.values(), offer], key=lambda one: one.cost)
            if len(self._offers) < FEWEST:
                return False
            if worst is not offer and not self._fits(size, without=worst.folder):
                return False
            worst.give_up()
            if worst is offer:
                return True  # whoever offered it ends it
            self.drop(worst.folder)
        self._offers[offer.folder], self._bytes[offer.folder] = offer, size
        self.tell(frozenset(self._offers))
        return True

    def has(self, folder: str) -> bool:
        """Whether the program of a trial is here."""
        return folder in self._offers

    def take(self, folder: str) -> _P | None:
        """The program of a trial that goes on, still stopped; None if it is not here."""
        offer = self._offers.pop(folder, None)
        self._bytes.pop(folder, None)
        if offer is None:
            return None
        self.tell(frozenset(self._offers))
        return offer.program

    def drop(self, folder: str) -> None:
        """End the program of a trial, if it is here."""
        program = self.take(folder)
        if program is not None:
            program.close()

    def close(self) -> None:
        """End all."""
        for folder in list(self._offers):
            self.drop(folder)

    def _fits(self, size: int, *, without: str = "") -> bool:
        others = sum(num_bytes for folder, num_bytes in self._bytes.items() if folder != without)
        free = self.free_bytes()
        if free is not None:
            free += self._bytes.get(without, 0)
        if free is not None and others + size > SHARE * (free + size):
            return False
        if self._device.type != "cuda" or without:
            return True
        left, whole = torch.cuda.mem_get_info(self._device)
        return left >= SHARE * whole
