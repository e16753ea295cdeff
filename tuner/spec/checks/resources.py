"""What must hold of `resources:`, whatever the machine."""

from __future__ import annotations

from tuner.spec.model import SweepSpec
from tuner.spec.text.findings import Findings


def check_resources(spec: SweepSpec, findings: Findings) -> None:
    """Check what of a machine is asked for; whether it is there is seen when workers are started."""
    asked = spec.resources
    if asked is None:
        return
    if asked.gpus is not None and asked.gpus > 1:
        if asked.gpus != int(asked.gpus):
            rule, remedy = "must be a whole number, or less than 1", "write 2 for two GPUs, 0.5 for a half of one"
            findings.error(("resources", "gpus"), rule, remedy=remedy)
        elif spec.loop is None:
            rule = "must be at most 1 for a network that tuner trains: it is fused with others, never split"
            remedy = "several GPUs for a trial are for `command: torchrun ...` or `trainer:`"
            findings.error(("resources", "gpus"), rule, remedy=remedy)
    if asked.cpus is not None and spec.loop is None:
        rule = "is for command and trainer: a network that tuner trains has one core"
        findings.error(("resources", "cpus"), rule, remedy="remove it; --workers says how many train", at_key=True)
