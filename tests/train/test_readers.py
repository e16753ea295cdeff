"""Reading the epochs of programs that print no lines for tuner."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tuner.spec.model import ReportsSpec
from tuner.train.own.proposal import lines_with_numbers, others_named, proposed
from tuner.train.own.readers import open_reader
from tuner.train.own.reports import Reader, ReportError

EPOCHS = (1, 2, 3)
LOSSES = (0.75, 0.5, 0.25)


PUBLIC = {
    "nanoGPT": (
        "iter {step}: loss 0.9000, time 30.15ms, mfu 3.10%\nstep {step}: train loss 0.1000, val loss {loss:.4f}\n"
        "saving checkpoint to out"
    ),
    "Keras": (
        "Epoch {epoch}/3\n\x1b[1m1/3\x1b[0m \x1b[32m━━━\x1b[0m\x1b[37m━━━\x1b[0m \x1b[1m1s\x1b[0m "
        "900ms/step - loss: 2.3000\n"
        "\x1b[1m3/3\x1b[0m \x1b[32m━━━━━━\x1b[0m \x1b[1m1s\x1b[0m 26ms/step - loss: 0.4100 - val_accuracy: 0.9500 - "
        "val_loss: {loss:.4f}"
    ),
    "Hugging Face's Trainer": (
        "{{'loss': 0.6881, 'grad_norm': 0.26, 'learning_rate': 0.0016, 'epoch': {epoch}.0}}\n"
        "{{'eval_loss': {loss}, 'eval_runtime': 0.0413, 'epoch': {epoch}.0}}"
    ),
    "the same of version 5": (
        "{{'loss': '0.6881', 'learning_rate': '0.0016', 'epoch': '{epoch}'}}\n"
        "{{'eval_loss': '{loss}', 'eval_runtime': '0.0413', 'epoch': '{epoch}'}}"
    ),
    "Lightning": (
        "Epoch {zero}:  50%|##  | 5/10 [00:00<00:00, 99.1it/s, v_num=0]\n"
        "Epoch {zero}: 100%|####| 10/10 [00:00<00:00, 99.1it/s, v_num=0, val_loss={loss:.3f}]"
    ),
    "fairseq": (
        "2026-01-01 10:00:00 | INFO | train | epoch {epoch:03d} | loss 9.1 | ppl 480 | num_updates {step}\n"
        "2026-01-01 10:00:00 | INFO | valid | epoch {epoch:03d} | valid on 'valid' subset | loss {loss} | ppl 8.5"
    ),
    "PyTorch's examples": (
        "Train Epoch: {epoch} [0/60000 (0%)]\tLoss: 2.300000\n"
        "Test set: Average loss: {loss:.4f}, Accuracy: 9812/10000 (98%)"
    ),
    "torchvision": "Epoch: [{zero}]  [  0/100]  eta: 0:00:30  lr: 0.1  loss: 2.3 (2.3)\nval loss {loss}",
}
"""What public training scripts print."""
WITH_FILES = {
    "timm": (
        "Train: {zero} [   0/100 (  0%)]  Loss: 2.30 (2.30)  Time: 0.2s, 300/s  LR: 1.000e-03\n"
        "Test: [   0/10]  Time: 0.100 (0.100)  Loss:   0.900 ( 0.900)\n"
        "Test: [  10/10]  Time: 0.100 (0.100)  Loss:   0.300 ({loss:6.3f})"
    ),
    "ultralytics": (
        "      Epoch    GPU_mem   box_loss\n        {epoch}/3         0G      1.205: 100%|####| 8/8\n"
        "                 Class     Images      mAP50  mAP50-95)\n"
        "                   all        128      {loss:.3f}      0.446"
    ),
}
"""Of those no line says the metric of an epoch; they write CSV files, too."""


def lines_of(style: str) -> list[str]:
    """What scripts of this style print of three epochs, as lines."""
    line = {
        **PUBLIC,
        **WITH_FILES,
        "steps": "step {step}: train loss 0.1000, val loss {loss:.4f}",
        "words": "| end of epoch {epoch:3d} | time:  0.20s | valid loss {loss:5.2f} | valid ppl    5.00",
        "heading": "Epoch {epoch}/3\n100/100 - 1s - loss: 0.1000 - val_loss: {loss:.4f} - val_accuracy: 0.8800",
        "mapping": "{{'eval_loss': {loss}, 'eval_accuracy': 0.9, 'epoch': {epoch}.0}}",
        "bar": "Epoch {epoch}: 100%|#####| 10/10 [00:01<00:00, val_loss={loss:.3f}]",
        "from zero": "Epoch: {zero} Validation Loss: {loss:.6f}",
        "logger": "2026-01-0{epoch} 10:00:00,123 INFO epoch={epoch} dev-loss={loss:e} lr=0.1",
        "no epoch": "valid loss: {loss:.3f}",
    }[style]
    texts = [line.format(step=e * 250, epoch=e, zero=e - 1, loss=v) for e, v in zip(EPOCHS, LOSSES, strict=True)]
    return ["loading 3 files", *"\n".join(texts).split("\n"), "done in 12 s"]


def reader_of(place: Path | None = None, **reports: Any) -> Reader:
    return open_reader(ReportsSpec.model_validate(reports), metric="val_loss", place=place)


def curve(reader: Reader, lines: list[str] | None = None) -> list[tuple[int, float]]:
    return [(report.epoch, report.values["val_loss"]) for report in reader.read(lines or [], [])]


@pytest.mark.parametrize(
    "style", ["steps", "words", "heading", "mapping", "bar", "from zero", "logger", "no epoch", *PUBLIC]
)
def test_what_is_proposed_for_the_lines_of_a_script_reads_them(style: str) -> None:
    from ruamel.yaml import YAML

    lines = lines_of(style)
    block = proposed(lines, metric="val_loss")
    assert block is not None
    found = YAML(typ="safe").load(block)["reports"]
    assert curve(reader_of(**found), lines) == list(zip(EPOCHS, LOSSES, strict=True))


@pytest.mark.parametrize("style", WITH_FILES)
def test_where_a_line_has_the_values_of_batches_or_no_names_nothing_is_proposed(style: str) -> None:
    assert proposed(lines_of(style), metric="val_loss") is None


def test_nothing_is_proposed_where_no_line_names_the_metric() -> None:
    lines = ["epoch 1", "accuracy 0.9", "accuracy 0.8"]
    assert proposed(lines, metric="perplexity") is None
    assert lines_with_numbers(lines) == ["accuracy 0.9", "epoch 1"]


@pytest.mark.parametrize(
    ("style", "names"),
    [("heading", ["val_accuracy"]), ("mapping", ["val_accuracy"]), ("steps", []), ("Keras", ["val_accuracy"])],
)
def test_other_metrics_that_the_lines_name_are_found_each_with_what_reads_it(style: str, names: list[str]) -> None:
    from ruamel.yaml import YAML

    lines = lines_of(style)
    found = others_named(lines, metric="val_loss")
    assert list(found) == names
    for name, block in found.items():
        reports = ReportsSpec.model_validate(YAML(typ="safe").load(block)["reports"])
        read = open_reader(reports, metric=name, place=None).read(lines, [])
        assert [report.epoch for report in read] == [*EPOCHS]
        assert {report.values[name] for report in read} <= {0.88, 0.9, 0.95}


def test_of_words_on_training_no_objective_is_made() -> None:
    lines = ["epoch 1 train accuracy 0.9 val accuracy 0.8", "epoch 2 train accuracy 0.95 val accuracy 0.85"]
    block = proposed(lines, metric="accuracy")
    assert block is not None
    assert "val" in block
    of_training = ["epoch 1 train loss 0.5 accuracy 0.9"]
    assert proposed(of_training, metric="accuracy") is None
    assert others_named(of_training, metric="val_loss") == {}
    assert list(others_named(["epoch 1 loss 0.5 acc 0.9"], metric="val_loss")) == ["accuracy"]


def test_lines_of_standard_error_are_read_as_well() -> None:
    reader = reader_of(pattern=r"val (?P<val_loss>\S+)")
    assert [r.epoch for r in reader.read([], ["INFO val 0.5,"])] == [1]


def test_what_stands_beside_the_metric_is_reported_with_its_epoch_alone() -> None:
    reader = reader_of(pattern=[r"train (?P<train_loss>\S+)", r"epoch (?P<epoch>\d+) val (?P<val_loss>\S+)"])
    first, second = reader.read(["train 0.5", "epoch 1 val 1.0", "epoch 2 val 0.9"], [])
    assert first.values == {"train_loss": 0.5, "val_loss": 1.0}
    assert second.values == {"val_loss": 0.9}


def test_steps_between_epochs_are_passed_over_and_step_0_is_before_training() -> None:
    reader = reader_of(pattern=r"(?P<step>\d+) (?P<val_loss>\S+)", every=100)
    assert curve(reader, ["0 9", "50 5", "100 4", "199 3", "200 2"]) == [(0, 9.0), (1, 4.0), (2, 2.0)]


def test_a_line_that_comes_again_says_nothing_new_and_another_value_is_an_error() -> None:
    reader = reader_of(pattern=r"(?P<epoch>\d+) (?P<val_loss>\S+)")
    assert curve(reader, ["1 0.5", "1 0.5", "2 nan", "2 nan"])[0] == (1, 0.5)
    with pytest.raises(ReportError, match=r"epoch 1 has two values of val_loss, 0\.5 and 0\.4"):
        curve(reader, ["1 0.4"])


def test_a_diverged_loss_is_read() -> None:
    ((epoch, loss),) = curve(reader_of(pattern=r"val (?P<val_loss>\S+)"), ["val nan"])
    assert (epoch, math.isnan(loss)) == (1, True)


@pytest.mark.parametrize("text", ["1.5 0.5", "x 0.5"])
def test_an_epoch_is_a_whole_number(text: str) -> None:
    with pytest.raises(ReportError, match="epoch must be a whole number"):
        curve(reader_of(pattern=r"(?P<epoch>\S+) (?P<val_loss>\S+)"), [text])


def test_a_csv_file_is_read_as_it_grows_and_blank_cells_are_none(tmp_path: Path) -> None:
    place = tmp_path / "metrics.csv"
    reader = reader_of(place, csv="metrics.csv", column="val/loss", first=0)
    assert curve(reader) == []
    place.write_text("epoch,step,train_loss,val/loss\n0,9,0.3,\n0,9,,0.75\n1,19,,0.")
    assert curve(reader) == [(1, 0.75)]
    place.write_text("epoch,step,train_loss,val/loss\n0,9,0.3,\n0,9,,0.75\n1,19,,0.5\n")
    assert curve(reader) == [(2, 0.5)]
    assert curve(reader) == []


def test_a_csv_file_without_epochs_is_counted_and_what_an_earlier_start_wrote_is_not(tmp_path: Path) -> None:
    place = tmp_path / "log.csv"
    place.write_text("val_loss\n9\n8\n")
    reader = reader_of(place, csv="log.csv")
    assert curve(reader) == []
    place.write_text("val_loss\n9\n8\n0.75\n0.5\n")
    assert curve(reader) == [(1, 0.75), (2, 0.5)]


def test_a_csv_file_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    place = tmp_path / "log.csv"
    reader = reader_of(place, csv="log.csv", column="loss")
    place.write_text("epoch,val_loss\n1,0.5\n")
    with pytest.raises(ReportError, match=r"log\.csv has no column loss; it has epoch, val_loss"):
        curve(reader)


@pytest.mark.slow
def test_event_files_of_tensorboard_are_read_as_they_grow(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert tensorboard is not None
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "old")) as old:
        old.add_scalar("val/loss", 9.0, 938)
    counted = reader_of(tmp_path, tensorboard=".", tag="val/loss")
    stepped = reader_of(tmp_path, tensorboard=".", tag="val/loss", every=938)
    with SummaryWriter(str(tmp_path / "new")) as writer:
        found: list[tuple[int, float]] = []
        for epoch, loss in zip(EPOCHS, LOSSES, strict=True):
            writer.add_scalar("val/loss", loss, epoch * 938)
            writer.add_scalar("train/loss", 0.1, epoch * 938)
            writer.flush()
            found += curve(counted)
    assert found == list(zip(EPOCHS, LOSSES, strict=True))
    assert curve(stepped) == found
