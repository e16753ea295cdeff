"""The ways round what is not built in: a Dice loss, and text."""

from __future__ import annotations

import numpy as np
import torch

from examples.docstrings import LENGTH, MODULES, BagOfWords, numbers, sentences
from examples.own_parts import dice_loss


def test_dice_is_what_its_formula_says_in_float64() -> None:
    draw = np.random.default_rng(0)
    logits, targets = draw.standard_normal((12, 3)), draw.integers(0, 3, 12)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    overlaps = [
        (2 * shares[targets == c, c].sum() + 1) / (shares[:, c].sum() + (targets == c).sum() + 1) for c in range(3)
    ]
    found = dice_loss(torch.tensor(logits), torch.tensor(targets))
    assert abs(float(found) - (1 - np.mean(overlaps))) < 1e-12
    right = torch.nn.functional.one_hot(torch.tensor(targets), 3) * 1e3
    assert float(dice_loss(right.double(), torch.tensor(targets))) < 1e-9


def test_sentences_are_rows_of_word_numbers_of_several_modules() -> None:
    inputs, targets = sentences()
    assert inputs.shape == (len(targets), LENGTH)
    assert len(targets) > 300
    assert set(targets) == set(MODULES)
    assert numbers("a time of day")[:4] == numbers("a time of day and more")[:4]


def test_the_order_of_words_and_what_pads_a_sentence_do_not_count() -> None:
    torch.manual_seed(0)
    module = BagOfWords(outputs=2, units=4, dropout=0.0).eval()
    ids = torch.tensor([[5.0, 7.0, 0.0, 0.0], [7.0, 0.0, 5.0, 0.0], [5.0, 7.0, 9.0, 0.0]])
    first, same, other = module(ids)
    torch.testing.assert_close(first, same)
    torch.testing.assert_close(first, module(ids[:1, :2])[0])
    assert not torch.allclose(first, other)
