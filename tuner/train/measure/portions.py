"""How many examples are evaluated at once; without torch, for whoever plans."""

EVALUATION_ROWS = 256
"""Examples evaluated at once, at most. Fixed, so that a trial's figures do not depend on the width of its cohort."""
EVALUATION_BYTES = 2**27
"""Of what a network's layers give for them."""


def evaluation_rows(example_bytes: float) -> int:
    """How many examples are evaluated at once, where the layers of one trial give so many bytes for each."""
    return max(1, min(EVALUATION_ROWS, int(EVALUATION_BYTES / max(1.0, example_bytes))))
