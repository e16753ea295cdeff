"""What every kind of data source promises. A new one subclasses `SourceContract` and says how to write an example."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.helpers import load, sweep
from tuner.data.sources import SOURCES
from tuner.data.test_set import load_test_split
from tuner.errors import TunerError


class SourceContract:
    """Tests of one kind of source."""

    kind: str
    """Its name in `SOURCES`."""

    def write(self, root: Path) -> str:
        """Write at least 30 examples, at least 5 of each class, under this folder; return their `data.source`."""
        raise NotImplementedError

    def missing(self) -> str:
        """A `data.source` of this kind that does not exist."""
        raise NotImplementedError

    def test_it_alone_reads_its_own(self, tmp_path: Path) -> None:
        location = self.write(tmp_path)
        readers = [name for name, source in SOURCES.items() if source.matches(location, tmp_path / location)]
        assert readers[0] == self.kind

    def test_the_same_examples_every_time(self, tmp_path: Path) -> None:
        location = self.write(tmp_path)
        first, second = (load(tmp_path, source=location) for _ in range(2))
        assert first.info == second.info
        assert first.train.inputs.equal(second.train.inputs)
        assert first.dev.targets.equal(second.dev.targets)

    def test_tensors_fit_the_facts(self, tmp_path: Path) -> None:
        location = self.write(tmp_path)
        data = load(tmp_path, source=location)
        test = load_test_split(sweep(tmp_path, source=location))
        numbers = (data.info.num_train, data.info.num_dev, data.info.num_test)
        for split, num in zip((data.train, data.dev, test), numbers, strict=True):
            assert split.inputs.shape == (num, *data.info.input_shape)
            assert split.inputs.isfinite().all()
            assert len(split.targets) == num >= 1
        assert sum(numbers) >= 30

    def test_parts_may_be_given_apart(self, tmp_path: Path) -> None:
        location = self.write(tmp_path)
        info = load(tmp_path, source=location, dev=location, test=location).info
        assert info.num_train == info.num_dev == info.num_test >= 30
        assert info.dev_in_train == info.test_in_train == info.test_in_dev == info.num_train

    def test_reading_changes_nothing(self, tmp_path: Path) -> None:
        location = self.write(tmp_path)
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        load(tmp_path, source=location)
        after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert after == before

    def test_what_is_not_there_is_refused_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(TunerError) as error:
            load(tmp_path, source=self.missing())
        assert str(error.value).isprintable()
        assert error.value.exit_code in (3, 6)
