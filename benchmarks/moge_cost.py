# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What MoGE blocks cost, as ratios to the plain Vision Transformer.

ViT-Tiny at 224 x 224 with six experts in two blocks, three an image; all ways take turns in
one run, and the medians of several rounds are compared::

    python benchmarks/moge_cost.py --batch 32 64

``FLOPs`` are those of matrix products, counted by PyTorch, and memory is the peak of live
tensors, with parameters and gradients.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cost_uncontracted import Work, peak_bytes
from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import LinearExperts, SingleNet, TimmBackbone, WrapEncoder
from torchgeo_experts.models.moge import MoGEBackbone, MoGEConfig, block, dispatch
from torchgeo_experts.objectives import ERM, MoGE, Objective, Step

MODEL, CLASSES = 'vit_tiny_patch16_224', 62


def make_net(experts: bool) -> SingleNet:
    """Make a network, with experts or without."""
    torch.manual_seed(0)
    backbone: TimmBackbone | MoGEBackbone = TimmBackbone(MODEL)
    if experts:
        backbone = MoGEBackbone(backbone, WrapEncoder(), MoGEConfig())
    return SingleNet(backbone, LinearExperts(1, backbone.out_features, CLASSES))


def make_batch(size: int) -> dict[str, Tensor]:
    """Draw images and places."""
    return {
        'image': torch.randn(size, 3, 224, 224),
        'lon': 360 * torch.rand(size) - 180,
        'lat': 180 * torch.rand(size) - 90,
    }


def infer(net: SingleNet, batch: dict[str, Tensor]) -> None:
    """Predict a batch."""
    with torch.no_grad():
        net.eval().predict(net.backbone.read(batch))


def train(net: SingleNet, batch: dict[str, Tensor], objective: Objective) -> None:
    """Compute the gradients of a batch."""
    target = torch.arange(len(batch['image'])) % CLASSES
    criterion = make_criterion('multiclass', 'ce', num_outputs=CLASSES)
    _, terms, _ = objective(Step(net.train(), batch, target, criterion))
    torch.stack(list(terms.values())).sum().backward()
    net.zero_grad()


def dense_mix(experts: object, tokens: Tensor, weights: Tensor, top_k: int) -> Tensor:
    """Evaluate all experts on all images."""
    return dispatch.dense(experts, tokens, weights)  # type: ignore[arg-type]


def with_dense(work: Callable[[], None]) -> Callable[[], None]:
    """Do some work with all experts evaluated on all images."""

    def dense() -> None:
        usual, block.mix = block.mix, dense_mix  # type: ignore[attr-defined]
        try:
            work()
        finally:
            block.mix = usual  # type: ignore[attr-defined]

    return dense


def ways(size: int) -> dict[str, dict[str, Work]]:
    """List what is measured, by kind of step; the plain network comes first."""
    batch, plain, moge = make_batch(size), make_net(False), make_net(True)
    no_cka = MoGE(cka_weight=0.0)
    found = {
        'inference': {
            'ViT': lambda: infer(plain, batch),
            'MoGE': lambda: infer(moge, batch),
            'MoGE, dense': with_dense(lambda: infer(moge, batch)),
        },
        'training': {
            'ViT': lambda: train(plain, batch, ERM()),
            'MoGE without CKA': lambda: train(moge, batch, no_cka),
            'MoGE without CKA, dense': with_dense(lambda: train(moge, batch, no_cka)),
            'MoGE': lambda: train(moge, batch, MoGE()),
        },
    }
    return {
        step: {
            name: Work(run, (plain if name == 'ViT' else moge,), batch)
            for name, run in runs.items()
        }
        for step, runs in found.items()
    }


def flops(work: Work) -> int:
    """Count the floating point operations of some work."""
    # The counter knows no fused attention of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work.run()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch', type=int, nargs='+', default=[32, 64])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print('| batch | step | network | FLOPs | time | range | memory |')
    print('| --: | --- | --- | --: | --: | --: | --: |')
    notes = []
    for size in args.batch:
        for step, works in ways(size).items():
            counts = {name: flops(work) for name, work in works.items()}
            memory = {name: peak_bytes(work, 'cpu') for name, work in works.items()}
            times: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(args.rounds):
                for name, work in works.items():
                    start = time.process_time()
                    work.run()
                    times[name].append(time.process_time() - start)
            base = times['ViT']
            for name, taken in times.items():
                ratios = [t / b for t, b in zip(taken, base, strict=True)]
                print(
                    f'| {size} | {step} | {name} | {counts[name] / counts["ViT"]:.3f} |'
                    f' {statistics.median(taken) / statistics.median(base):.3f} |'
                    f' {min(ratios):.2f} to {max(ratios):.2f} |'
                    f' {memory[name] / memory["ViT"]:.2f} |',
                    flush=True,
                )
            seconds, megabytes = statistics.median(base), memory['ViT'] / 1e6
            notes.append(f'ViT, {size}, {step}: {seconds:.2f} s, {megabytes:.0f} MB')
    print('\n'.join(notes))


if __name__ == '__main__':
    main()
