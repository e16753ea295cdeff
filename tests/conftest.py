"""One thread for every test process, and the numeric environment of the workers, before torch is imported."""

from hypothesis import HealthCheck, settings

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import torch  # noqa: E402

from tuner.train.native.library import library  # noqa: E402

torch.set_num_threads(1)
library(wait=True)  # or the first test's workers would have a compiler at work beside them

# No test fails because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
