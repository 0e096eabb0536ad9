"""Every question to the process group in one place; without one, this process is rank 0 of 1."""

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
