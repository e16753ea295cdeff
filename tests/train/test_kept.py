"""Whose programs are kept stopped, and which is given up where memory is short."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from tuner.train.own.kept import Kept, Offer


@dataclass
class Double:
    """A program, and what was done to it."""

    num_bytes: int = 10
    done: list[str] = field(default_factory=list)

    def stop(self) -> None:
        self.done.append("stopped")

    def close(self) -> None:
        self.done.append("ended")


def offer(name: str, cost: float) -> Offer[Double]:
    program = Double()
    return Offer(name, program, cost, lambda: program.done.append("given up"))


def kept_of(free: int | None) -> Kept[Double]:
    """Of a machine with so much memory free before anything is kept."""
    kept = Kept[Double](torch.device("cpu"))
    held = kept._bytes
    kept.free_bytes = lambda: None if free is None else free - sum(held.values())
    return kept


def test_what_is_kept_is_told_and_given_back_once() -> None:
    kept, told = kept_of(None), list[frozenset[str]]()
    kept.tell = told.append
    assert kept.keep(offer("a", 1.0))
    assert kept.keep(offer("b", 2.0))
    program = kept.take("a")
    assert program is not None
    assert program.done == ["stopped"]
    assert (kept.take("a"), kept.has("a"), kept.has("b")) == (None, False, True)
    kept.close()
    assert told == [{"a"}, {"a", "b"}, {"b"}, frozenset()]


def test_where_few_are_kept_and_memory_is_short_none_is_given_up() -> None:
    kept, first, second = kept_of(30), offer("a", 1.0), offer("b", 2.0)
    assert kept.keep(first)
    assert not kept.keep(second)
    assert (first.program.done, second.program.done) == (["stopped"], ["stopped"])


def test_where_memory_is_short_the_least_promising_is_given_up() -> None:
    kept = kept_of(90)
    a, b, c, d, e = (offer(name, cost) for name, cost in zip("abcde", (3.0, 1.0, 2.0, 0.5, 9.0), strict=True))
    assert all(kept.keep(one) for one in (a, b, c))
    assert kept.keep(d)
    assert a.program.done == ["stopped", "given up", "ended"]
    assert kept.keep(e)  # itself: whoever has offered it ends it
    assert (e.program.done, kept.has("e")) == (["stopped", "given up"], False)
    assert [kept.has(name) for name in "abcd"] == [False, True, True, True]
