"""Several processes that train one network: ``torchrun`` starts them, each takes a share of every batch.

Gradients and the statistics of batch norm are those of the whole batch, so the weights are those of one process with the same
batches, but for the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional

from brainage_bids.records import BadConfiguration

PATIENCE = timedelta(days=7)
"""How long processes wait for each other: the first one packs all images before the others begin."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees it.

    Attributes
    ----------
    rank : int
        Of this process; 0 prints and writes.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of so many things are this process's: every ``size``-th.

        >>> list(range(5))[Team(1, 2).share(5)]
        [1, 3]
        """
        return slice(self.rank, count, self.size)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, in place; no gradient flows."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def total_array(self, values: np.ndarray, device: str) -> np.ndarray:
        """Sum of an array over the processes, float64; zeros and one value add up exactly."""
        return self.total(torch.from_numpy(np.asarray(values, dtype=np.float64)).to(device)).cpu().numpy()

    def total_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Sum the gradients of all processes, all of them in one message."""
        if self.size == 1:
            return
        learning = [one for one in parameters if one.requires_grad]
        for one in learning:
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad
        flat = self.total(torch.cat([one.grad.reshape(-1) for one in learning]))
        for one, part in zip(learning, flat.split([one.numel() for one in learning]), strict=True):
            one.grad.copy_(part.view(one.shape))

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Team()


def started_by_torchrun() -> bool:
    """Whether the environment says that there are several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join(device: str) -> Iterator[tuple[Team, str]]:
    """Meet the other processes that ``torchrun`` started; the device becomes this process's own GPU, if it is a GPU.

    Raises
    ------
    BadConfiguration
        If a machine has fewer GPUs than processes.
    """
    if not started_by_torchrun():
        yield ALONE, device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= count:
            raise BadConfiguration(
                f"There are more processes than the {count} GPUs of this machine; give torchrun --nproc-per-node {count}."
            )
        device = f"cuda:{place}"
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    yield Team(distributed.get_rank(), distributed.get_world_size()), device
    distributed.destroy_process_group()  # not after an error: the others may be waiting for this process, and torchrun ends them


class _Total(torch.autograd.Function):
    """Sum over processes of values that gradients flow through."""

    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].clone()
        distributed.all_reduce(gradient)
        return gradient


class JointNorm(nn.Module):
    """Batch norm whose statistics are those of the batches of all processes; shares the tensors of the layer it stands for.

    The mean over processes is Σ n_r m_r / Σ n_r and the variance Σ n_r (v_r + (m_r − m)²) / Σ n_r. torch has such a layer for
    GPUs only.
    """

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.train(norm.training)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, …), in the type that came in."""
        if not self.training:
            return functional.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        axes = [axis for axis in range(values.dim()) if axis != 1]
        exact = values.to(torch.promote_types(values.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, axes, correction=0)
        count = mean.new_tensor([values.numel() // values.shape[1]])
        sums = _Total.apply(torch.cat([mean * count, count]))
        joint_mean, total = sums[:-1] / sums[-1], sums[-1].detach()
        joint_variance = _Total.apply((variance + (mean - joint_mean) ** 2) * count) / total
        with torch.no_grad():
            self.running_mean.lerp_(joint_mean, self.momentum)
            self.running_var.lerp_(joint_variance * (total / (total - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (joint_variance + self.eps).rsqrt()
        shape = (1, -1) + (1,) * (values.dim() - 2)
        return (values * scale.view(shape) + (self.bias - joint_mean * scale).view(shape)).to(values.dtype)


@contextmanager
def joint_norms(net: nn.Module, team: Team) -> Iterator[None]:
    """Let the batch norms of a network look at the batches of all processes, as long as the block lasts."""
    found = [
        (parent, name, child)
        for parent in (net.modules() if team.size > 1 else ())
        for name, child in parent.named_children()
        if isinstance(child, NORMS)
    ]
    for parent, name, child in found:
        setattr(parent, name, JointNorm(child))
    try:
        yield
    finally:
        for parent, name, child in found:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)
