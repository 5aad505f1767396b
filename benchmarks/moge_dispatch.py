# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Ways to hand images out to the experts of one block, as ratios to the fastest.

ViT-Tiny's feed-forward network, six experts, three an image, 197 tokens; all ways take
turns, and give the same numbers::

    python benchmarks/moge_dispatch.py --batch 1 8 32 64

On a GPU: ``--device cuda``.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from timm.layers import Mlp
from torch import Tensor

from torchgeo_experts.models.moge.dispatch import dense, gathered, looped
from torchgeo_experts.models.moge.feed_forward import FeedForwards
from torchgeo_experts.models.moge.gate import top_k_softmax

WIDTH, TOKENS, EXPERTS, TOP_K = 192, 197, 6, 3


def ways(size: int, device: str) -> dict[str, Callable[[], Tensor]]:
    """List the ways to evaluate the experts of a batch."""
    torch.manual_seed(0)
    experts = FeedForwards(Mlp(WIDTH, 4 * WIDTH), EXPERTS, jitter=1.0).to(device)
    tokens = torch.randn(size, TOKENS, WIDTH, device=device, requires_grad=True)
    weights = top_k_softmax(torch.randn(size, EXPERTS, device=device), TOP_K)
    return {
        'take turns': lambda: looped(experts, tokens, weights),
        'gather weights': lambda: gathered(experts, tokens, weights, TOP_K),
        'all on all': lambda: dense(experts, tokens, weights),
    }


def seconds(work: Callable[[], Tensor], backward: bool, device: str) -> float:
    """Time one evaluation."""
    start = time.process_time() if device == 'cpu' else time.perf_counter()
    with torch.set_grad_enabled(backward):
        found = work()
    if backward:
        found.square().sum().backward()
    if device != 'cpu':
        torch.cuda.synchronize()
        return time.perf_counter() - start
    return time.process_time() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 8, 32, 64])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.set_num_threads(1)
    print('| batch | step | take turns | gather weights | all on all |')
    print('| --: | --- | --: | --: | --: |')
    for size in args.batch:
        works = ways(size, args.device)
        first = next(iter(works.values()))()
        for work in works.values():
            torch.testing.assert_close(work(), first, rtol=1e-3, atol=1e-4)
        for step in ('inference', 'training'):
            found: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(args.rounds):
                for name, work in works.items():
                    taken = seconds(work, step == 'training', args.device)
                    found[name].append(taken)
            medians = [statistics.median(taken) for taken in found.values()]
            cells = [f'{1000 * m:.0f} ms ({m / min(medians):.2f})' for m in medians]
            print(f'| {size} | {step} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
