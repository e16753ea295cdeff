"""One thread for every test process, and the numeric environment of the workers, before torch is imported."""

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import torch  # noqa: E402

torch.set_num_threads(1)
