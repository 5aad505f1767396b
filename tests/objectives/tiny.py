# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A network of a few numbers, and a step of it, for tests of objectives."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import (
    Backbone,
    ConvExperts,
    Features,
    LinearExperts,
    SingleNet,
)
from torchgeo_experts.objectives import Objective, Spec, Step

CLASSES, FEATURES, DOMAINS = 4, 5, 3


class Pooled(Backbone):
    """A linear layer and a nonlinearity on all pixels."""

    out_features, pyramid_channels = FEATURES, (FEATURES,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3 * 4 * 4, FEATURES)

    def forward(self, image: Tensor) -> Features:
        return Features(self.body(image.flatten(1)).tanh(), [])


class Mapped(Backbone):
    """A linear layer and a nonlinearity on each pixel, of images or of series."""

    out_features, pyramid_channels = FEATURES, (FEATURES,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, FEATURES)

    def forward(self, image: Tensor) -> Features:
        found = self.body(image.movedim(-3, -1)).movedim(-1, -3)
        return Features(found.tanh(), [])


class Dated(Mapped):
    """Tells which dates of series have an image, and looks at the others all the same."""

    def read(self, batch: Any) -> Features:
        return super().read(batch)._replace(valid=batch.get('valid'))


def make_net(maps: bool = False) -> SingleNet:
    torch.manual_seed(0)
    if maps:
        return SingleNet(Mapped(), ConvExperts(1, FEATURES, CLASSES)).double()
    return SingleNet(Pooled(), LinearExperts(1, FEATURES, CLASSES)).double()


def make_step(net: SingleNet, maps: bool = False, size: int = 12, **given: Any) -> Step:
    """Make a step of samples of three domains, with targets to adapt to."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    side = 8 if maps else 4
    domain = torch.arange(size) % DOMAINS
    batch = {
        'image': draw(size, 3, side, side) + domain[:, None, None, None],
        'domain': domain,
        'target_image': draw(size, 3, side, side) - 1,
    }
    shape = (size, side, side) if maps else (size,)
    target = torch.randint(0, CLASSES, shape, generator=generator)
    criterion = make_criterion('multiclass', 'ce', num_outputs=CLASSES)
    return Step(net, batch, target, criterion, **given)


def make_series_step(seen: Tensor, other: Tensor, **given: Any) -> Step:
    """Make a step of series of three domains, some dates of which have no image.

    Args:
        seen: Which dates of labelled series have one, bool, shape (B, T).
        other: The same of targets to adapt to.
        **given: More of the step.
    """
    torch.manual_seed(0)
    net = SingleNet(Dated(), ConvExperts(1, FEATURES, CLASSES)).double()
    domain = torch.arange(len(seen)) % DOMAINS
    image = torch.randn(*seen.shape, 3, 4, 4, dtype=torch.float64)
    batch = {
        'image': image + domain.view(-1, 1, 1, 1, 1),
        'valid': seen,
        'domain': domain,
        'target_image': torch.randn(*other.shape, 3, 4, 4, dtype=torch.float64) - 1,
        'target_valid': other,
    }
    target = torch.randint(0, CLASSES, (*seen.shape, 4, 4))
    # As in the data sets: no label where there is no image.
    target = target.where(seen[:, :, None, None], 255)
    criterion = make_criterion('multiclass', 'ce', ignore_index=255)
    return Step(net, batch, target, criterion, **given)


def build(
    objective: Objective,
    maps: bool = False,
    outputs: int = CLASSES,
    labels: bool = False,
) -> Objective:
    torch.manual_seed(2)
    objective.build(Spec(FEATURES, outputs, labels, maps, DOMAINS))
    return objective.double()


def predict(step: Step, batch: Any = None) -> Tensor:
    """Predict a batch, by the network alone."""
    batch = step.batch if batch is None else batch
    return step.net.predict(step.net.backbone.read(batch))


def labels_of(step: Step, task: Literal['binary', 'multilabel']) -> tuple[Step, int]:
    """Make a step of labels that are there or not, and tell the number of logits."""
    outputs = 1 if task == 'binary' else CLASSES
    present = (step.target % 2).long()
    if task == 'multilabel':
        present = torch.stack([present.roll(i, 0) for i in range(CLASSES)], dim=1)
    maps = step.target.ndim > 1
    heads = (ConvExperts if maps else LinearExperts)(1, FEATURES, outputs)
    net = SingleNet(step.net.backbone, heads.double())
    criterion = make_criterion(task, 'bce', num_outputs=outputs)
    return Step(net, step.batch, present, criterion, step.progress), outputs
