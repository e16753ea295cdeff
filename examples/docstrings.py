"""Text, by a data source and a network of one's own: which module of the standard library is a sentence about?

See docs/your-code.md. Words become numbers by a hash, so that there is no vocabulary that could know the dev set.
"""

from __future__ import annotations

import importlib
import inspect
import re
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tuner.data.dataset import DataInfo
from tuner.records import ParamValue

MODULES = ("argparse", "datetime", "decimal", "logging", "pathlib", "threading")
NUM_WORDS = 1000
"""Numbers of words; 0 stands for none."""
LENGTH = 24
"""Words of a sentence that are read."""


def sentences() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """Word numbers of shape (sentences, LENGTH), and the name of each sentence's module."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        all_classes = [c for _, c in inspect.getmembers(module, inspect.isclass)]
        classes = [c for c in all_classes if c.__module__.lstrip("_").startswith(name)]
        parts = [module, *classes, *(part for c in classes for part in vars(c).values())]
        texts = [doc for part in parts if isinstance(doc := getattr(part, "__doc__", None), str)]
        for sentence in (s for text in texts for s in re.split(r"[.:]\s", text)):
            words = re.findall(r"[a-z]{2,}", sentence.lower())
            if len(words) >= 4:
                found[" ".join(words)] = name
    return np.array([numbers(sentence) for sentence in found], dtype=np.float32), np.array(list(found.values()))


def numbers(sentence: str) -> list[int]:
    """The number of each word, padded with 0."""
    hashed = [1 + zlib.crc32(word.encode()) % (NUM_WORDS - 1) for word in sentence.split()[:LENGTH]]
    return hashed + [0] * (LENGTH - len(hashed))


class BagOfWords(nn.Module):
    """The mean of the words' vectors, then a linear layer."""

    def __init__(self, *, outputs: int, units: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(NUM_WORDS, units)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(units, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ids = x.long()
        is_word = (ids > 0).unsqueeze(-1)
        mean = (self.words(ids) * is_word).sum(dim=1) / is_word.sum(dim=1).clamp_min(1)
        logits: torch.Tensor = self.last(self.dropout(mean))
        return logits


def bag_of_words(params: Mapping[str, ParamValue], data: DataInfo) -> nn.Module:
    """What a sweep file names; it reads `units`, a hyperparameter of its own."""
    return BagOfWords(outputs=data.num_outputs, units=int(params["units"]), dropout=float(params["dropout"]))
