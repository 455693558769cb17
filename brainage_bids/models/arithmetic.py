"""How numbers are computed on a GPU, so that float32 means float32 there too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact() -> Iterator[None]:
    """Convolutions in full float32, by algorithms that give the same bits each time, as long as the block lasts.

    Left to itself torch lets cuDNN round the factors of float32 convolutions to ten bits (TF32), and take algorithms whose sums
    run in any order. On a CPU nothing changes.

    Examples
    --------
    >>> with exact():
    ...     torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    (False, True)
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
