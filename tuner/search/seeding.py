"""Random numbers of the search: a pure function of the search seed and of where they are used."""

from __future__ import annotations

import numpy as np


def generator(seed: int, *place: int) -> np.random.Generator:
    """A generator for one place of the search, such as (number of records, purpose)."""
    return np.random.default_rng([seed, *place])


def derived_seed(seed: int, *place: int) -> int:
    """A 31-bit seed for a library that takes one integer."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0]) >> 1
