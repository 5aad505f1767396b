# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Draw what the gates of a checkpoint decide."""

from pathlib import Path

import matplotlib.pyplot as plt

from .models import MoGEBackbone
from .models.weights import read_checkpoint
from .routing import Area, RoutingMap, effective_number
from .tasks import MoGEClassificationTask
from .tasks.tables import write_rows


def show_routing(checkpoint: Path, out: Path, whole: bool) -> None:
    """Write a map and a table of routes for each block with experts.

    Args:
        checkpoint: Checkpoint of a :class:`MoGEClassificationTask`.
        out: Folder to write into.
        whole: Whether to draw all of the Earth, and not the part of training.

    Raises:
        ValueError: If the checkpoint is of another task.
    """
    names = read_checkpoint(str(checkpoint)).get('state_dict', {})
    if not any(name.startswith('model.backbone.gates.') for name in names):
        raise ValueError(
            f'{checkpoint} has no gates: give one of MoGEClassificationTask'
        )
    task = MoGEClassificationTask.load_from_checkpoint(
        checkpoint, map_location='cpu', weights_only=True
    )
    backbone = task.backbone
    out.mkdir(parents=True, exist_ok=True)
    for number, block in enumerate(backbone.config.blocks):
        routing = RoutingMap.of(backbone, number, Area() if whole else None)
        write_rows(out / f'routing_{block}.csv', routing.header, routing.rows())
        figure = routing.plot()
        figure.savefig(out / f'routing_{block}.png', dpi=150, bbox_inches='tight')
        plt.close(figure)
        print(describe(backbone, number, block), flush=True)
    print(f'maps and tables: {out}')


def describe(backbone: MoGEBackbone, number: int, block: int) -> str:
    """Tell how a block's gate shares out the places of training.

    Args:
        backbone: Backbone.
        number: Number of its gate.
        block: Number of its block.

    Returns:
        One line.
    """
    weights = (
        backbone.eval().route(*backbone.coverage.places())[number].weights.detach()
    )
    gamma = float(backbone.parts[number].gamma.detach())
    if not len(weights):
        return f'block {block}: gamma {gamma:.2f}, trained on no place'
    share = weights.mean(dim=0)
    used = ' '.join(f'{100 * s:.0f}' for s in share.tolist())
    return (
        f'block {block}: gamma {gamma:.2f}, weights of experts over the'
        f' {len(weights)} places of training in %: {used}'
        f' (effective number {effective_number(share):.1f})'
    )
