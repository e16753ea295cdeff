"""Where a worker's output goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.execute.printed import MAX_BYTES, Printed


@pytest.fixture
def printed() -> Iterator[tuple[Printed, int]]:
    """The file, and a descriptor to print to."""
    file = Printed()
    yield file, file._descriptor
    file.close()


def test_each_text_is_delivered_once_to_each_log(printed: tuple[Printed, int], tmp_path: Path) -> None:
    file, descriptor = printed
    logs = [tmp_path / "0" / "log.txt", tmp_path / "1" / "log.txt"]
    for text in (b"first\n", b"second\n"):
        os.write(descriptor, text)
        file.deliver(logs)
    assert [log.read_bytes() for log in logs] == [b"first\nsecond\n"] * 2


def test_nothing_printed_makes_no_file(printed: tuple[Printed, int], tmp_path: Path) -> None:
    printed[0].deliver([tmp_path / "0" / "log.txt"])
    assert not list(tmp_path.iterdir())


def test_of_a_flood_the_end_is_kept(printed: tuple[Printed, int]) -> None:
    file, descriptor = printed
    os.write(descriptor, b"x" * MAX_BYTES + b"the end")
    text = file.take()
    assert text.startswith(b"... 7 bytes are left out ...\n")
    assert text.endswith(b"xthe end")
    assert file.take() == b""
