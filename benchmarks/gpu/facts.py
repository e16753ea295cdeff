"""Phase 0: which device, and how fast a matrix product and a copy are on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import torch

from gpu.setting import DEVICE, Figures, Setting, gpu_ms, tflops_of_product
from tuner.train.device.gpus import allow_tf32

QUERY = "name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm,clocks.mem,power.limit,utilization.gpu"


def facts(setting: Setting) -> Iterator[Figures]:
    properties = torch.cuda.get_device_properties(DEVICE)
    free, total = torch.cuda.mem_get_info()
    yield {
        "what": "device",
        "name": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "capability": list(torch.cuda.get_device_capability()),
        "gpus": torch.cuda.device_count(),
        "free_gib": round(free / 2**30, 2),
        "total_gib": round(total / 2**30, 2),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "numpy": np.__version__,
    }
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        yield {"what": "nvidia-smi", "fields": QUERY, "values": found.stdout.strip()}
    yield from ceilings(setting)


def ceilings(setting: Setting) -> Iterator[Figures]:
    size, seconds = setting.pick(8192, 16), setting.pick(1.0, 0.0)
    kinds = (("float32", torch.float32, False), ("tf32", torch.float32, True), ("bf16", torch.bfloat16, False))
    for name, dtype, tf32 in kinds:
        allow_tf32(tf32)
        yield {"what": f"product, {name}", "tflops": tflops_of_product(dtype, size=size, seconds=seconds)}
    allow_tf32(False)
    source = torch.zeros(setting.pick(2**30, 2**10), device=DEVICE)
    target = torch.empty_like(source)
    times = [gpu_ms(lambda: target.copy_(source)) for _ in range(10)]
    yield {"what": "copy", "terabytes_per_second": 2 * 4 * source.numel() / min(times[1:]) / 1e9}
    small = torch.zeros(64, device=DEVICE)

    def launches() -> None:
        for _ in range(1000):
            small.mul_(1.0)

    gpu_ms(launches)
    yield {"what": "launch of a small kernel", "microseconds": gpu_ms(launches)}
