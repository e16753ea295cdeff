"""When the steps of the stacked program are recorded, on a CPU."""

SCRIPT_AFTER_RUNS = 50
"""Recording a step and compiling it as TorchScript takes as long as some hundred runs."""
KERNELS_AFTER_RUNS = 1
"""To hand a step to the compiled kernels takes as long as some ten runs."""
