"""A CUDA machine that is not there: what a process does on its GPUs is computed on the CPU, and held to a GPU's rules.

Within `pretended()` PyTorch reports GPUs, and a tensor that is put on one remembers that: a tag on its storage. The
numbers are real, so curves can be compared with those of the CPU. What is checked or counted:

* calls that mix devices raise, as do `numpy()` of a GPU's tensor and devices that are not there;
* each GPU has a generator of its own, so what is seeded on another one draws other numbers;
* the current device and the current streams are those of a thread; a graph captures what its own stream is given, and
  nothing else, runs exactly that when it is replayed, refuses what a capture refuses, and warns when it is empty, in
  PyTorch's words;
* a recurrent layer's backward needs the training mode (cuDNN's rule);
* memory: bytes in use by living tensors, and `torch.OutOfMemoryError` beyond a limit;
* files: what `torch.save` writes remembers its GPU, and `torch.load` wants it there unless it is told otherwise;
* `machine.counts`: launches of kernels, replays, and each place where the host waits for the GPU.

What it does not know: which layouts and types a kernel takes, how CUDA rounds, how long anything takes, fragmentation.
"""

from tests.pretend_cuda.machine import Machine
from tests.pretend_cuda.patches import HAS_GPU, MACHINE, pretended

__all__ = ["HAS_GPU", "MACHINE", "Machine", "pretended"]
