"""Every question to the process group in one place; without one, this process is rank 0 of 1."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    """This process's rank."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """`values` added up over all processes; every process has to call it."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: Tensor) -> Callable[[], bool]:
    """Whether a boolean is set in any process; every process has to call it, and then ask for the answer.

    Nobody waits before asking, neither for the other processes nor for a GPU.
    """
    count = flag.to(torch.float32).reshape(1)
    pending = dist.all_reduce(count, async_op=True) if world() > 1 else None

    def answer() -> bool:
        if pending is not None:
            pending.wait()
        return bool(count.item())

    return answer
