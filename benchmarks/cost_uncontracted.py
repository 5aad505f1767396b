# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What ``cost.py`` stands on: time and memory of a step, and the published MultiUTAE.

In the published form of MultiUTAE the same numbers come out, but the weights of attention
are enlarged to the resolution of each skip connection and multiplied with every date before
anything is summed, and every encoder block runs on zeros first, to learn the shape of what
it gives.
"""

import gc
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torchgeo_experts.models import MultiUTAE, multiutae

#: Forms of MultiUTAE: whether attention stays uncontracted, whether blocks run twice.
FORMS = {
    'published': (True, True),
    'only dummy forwards removed': (True, False),
    'only attention contracted': (False, True),
    'this package': (False, False),
}


@dataclass
class Work:
    """Something to measure, and what it keeps from step to step."""

    run: Callable[[], Any]
    modules: tuple[nn.Module, ...]
    batch: dict[str, Tensor] = field(default_factory=dict)
    optimizer: torch.optim.Optimizer | None = None

    def kept(self) -> Iterator[Tensor]:
        """Find the tensors that are there before a step."""
        for module in self.modules:
            yield from module.buffers()
            for parameter in module.parameters():
                yield parameter
                if parameter.grad is not None:
                    yield parameter.grad
        state = self.optimizer.state.values() if self.optimizer else ()
        for leaf in tree_leaves([*state, self.batch]):
            if isinstance(leaf, Tensor):
                yield leaf


class Job(NamedTuple):
    """What makes a work, and how many bytes it takes beyond the baseline, at most."""

    part: str
    domains: int
    variant: str
    make: Callable[[], Work]
    extra: float = 0.0

    @property
    def names(self) -> dict[str, str | int]:
        """Columns that say what it is."""
        return {'part': self.part, 'domains': self.domains, 'variant': self.variant}


class LiveBytes(TorchDispatchMode):
    """Count the bytes of live tensors, each storage once."""

    def __init__(self) -> None:
        """Initialize a new LiveBytes instance."""
        super().__init__()
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor until its storage is freed.

        Args:
            tensor: Tensor, or a view of one that counts already.
        """
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            weakref.finalize(storage, self._forget, key).atexit = False
        self.live += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it gives."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out


def peak_bytes(work: Work, device: str) -> int:
    """Measure the peak memory of a step that is not the first.

    Args:
        work: What to measure.
        device: 'cpu' to count tensors, 'cuda' to ask the allocator, for which all that is
            on the GPU counts.

    Returns:
        Bytes.
    """
    work.run()
    if device == 'cuda':
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        work.run()
        return torch.cuda.max_memory_allocated()
    counter = LiveBytes()
    for tensor in work.kept():
        counter.add(tensor)
    with counter:
        work.run()
    return counter.peak


def seconds(run: Callable[[], object], device: str) -> float:
    """Measure the time of a step.

    Args:
        run: The step.
        device: 'cpu' for the time of the process, which others on the machine do not
            lengthen, 'cuda' for that of the GPU.

    Returns:
        Seconds.
    """
    if device == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.process_time()
    run()
    return time.process_time() - begin


def measure(
    baseline: Callable[[], Work],
    jobs: Sequence[Job],
    device: str,
    repetitions: int,
    limit: float,
) -> Iterator[dict[str, Any]]:
    """Measure jobs beside a baseline.

    Args:
        baseline: Makes what they are compared with.
        jobs: What to measure.
        device: 'cpu' or 'cuda'.
        repetitions: How often each runs, in turn.
        limit: Most bytes that a step may take.

    Yields:
        A row each, with nothing but the memory it would take for what is too large.
    """
    base = peak_bytes(baseline(), device)
    for job in jobs:
        if base + job.extra > limit:
            yield job.names | {'megabytes': (base + job.extra) / 1e6}
    jobs = [job for job in jobs if base + job.extra <= limit]
    if not jobs:
        return
    # One at a time: on a GPU all that is there counts.
    memory = [peak_bytes(job.make(), device) for job in jobs]
    works = [make() for make in (baseline, *(job.make for job in jobs))]
    for work in works:
        work.run()
    rounds = range(repetitions)
    times = np.array([[seconds(work.run, device) for work in works] for _ in rounds])
    for job, found, peak in zip(jobs, times.T[1:], memory, strict=True):
        ratio = found / times[:, 0]
        yield job.names | {
            'seconds': np.median(found),
            'baseline_seconds': np.median(times[:, 0]),
            'ratio': np.median(ratio),
            'ratio_low': ratio.min(),
            'ratio_high': ratio.max(),
            'megabytes': peak / 1e6,
            'baseline_megabytes': base / 1e6,
            'memory_ratio': peak / base,
        }


def attend_uncontracted(attention: Tensor, skip: Tensor) -> Tensor:
    """Mix the dates of a map, with a product for each pair of dates.

    Args:
        attention: Attention weights of cells, shape (B, h, w, G, T, T).
        skip: Maps, shape (B, T, C, H, W), C a multiple of G.

    Returns:
        Mixed maps, shape (B, T, C, H, W).
    """
    batch, _, _, heads, time, _ = attention.shape
    weights = attention.permute(3, 0, 4, 5, 1, 2).flatten(0, 2)
    weights = F.interpolate(weights, skip.shape[-2:], mode='bilinear')
    weights = weights.unflatten(0, (heads, batch, time))
    values = skip.unflatten(2, (heads, -1)).permute(2, 0, 1, 3, 4, 5)
    mixed = torch.einsum('gbtuhw,gbuchw->gbtuchw', weights, values).sum(3)
    return mixed.permute(1, 2, 0, 3, 4, 5).flatten(2, 3)


def run_on_zeros(block: nn.Module, inputs: tuple[Tensor]) -> None:
    """Run a block for the shape of its output alone, with gradients as published.

    Args:
        block: Encoder block.
        inputs: What it is called with.
    """
    block.forward(torch.zeros_like(inputs[0]))


@contextmanager
def form_of(net: MultiUTAE, name: str) -> Iterator[None]:
    """Give a network one of the forms, for a while.

    Args:
        net: Network.
        name: One of *FORMS*.

    Yields:
        Nothing.
    """
    uncontracted, twice = FORMS[name]
    with ExitStack() as stack:
        if uncontracted:
            changed = patch.object(multiutae, 'attend_skip', attend_uncontracted)
            stack.enter_context(changed)
        for block in (net.stem, *net.down) if twice else ():
            stack.enter_context(block.register_forward_pre_hook(run_on_zeros))
        yield


def form_work(name: str, shape: tuple[int, ...], training: bool, device: str) -> Work:
    """Make a step of MultiUTAE in one of its forms, without heads or optimizer.

    Args:
        name: One of *FORMS*.
        shape: Shape of a series (T, C, H, W).
        training: Whether to go backward too.
        device: Device.

    Returns:
        The work.
    """
    torch.manual_seed(0)
    net = MultiUTAE(shape[1]).train(training).to(device)
    image = torch.randn(1, *shape).to(device)

    def run() -> Tensor:
        net.zero_grad()
        with form_of(net, name), torch.set_grad_enabled(training):
            out = net(image).out
            if training:
                out.square().mean().backward()
        return out.detach()

    return Work(run, (net,), {'image': image})


def check_forms(shape: tuple[int, ...], device: str) -> None:
    """Check that all forms give the same, to rounding.

    Args:
        shape: Shape of a series (T, C, H, W).
        device: Device.

    Raises:
        AssertionError: If they do not.
    """
    expected = form_work('this package', shape, False, device).run()
    for name in FORMS:
        found = form_work(name, shape, False, device).run()
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
