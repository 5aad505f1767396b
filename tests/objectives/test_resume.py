# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training that goes on from its state dictionaries, as if it had never stopped."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from objectives.tiny import (
    CLASSES,
    DOMAINS,
    FEATURES,
    Pooled,
    build,
    make_net,
    make_step,
)
from torch import Tensor

from torchgeo_experts.models import LinearExperts, PlaceRelation, RelatedNet
from torchgeo_experts.objectives import (
    D3G,
    DANN,
    IRM,
    RDM,
    AdvEnt,
    Fish,
    GroupDRO,
    Objective,
    PixelContrast,
    TargetDANN,
    VREx,
)

#: Steps before training stops, in the middle of an epoch, and those of an epoch.
BEFORE, EPOCH = 3, 5


def make_related() -> RelatedNet:
    relation = PlaceRelation()
    relation.build(DOMAINS)
    relation.locate(torch.tensor([0.0, 40, 90]), torch.tensor([0.0, 20, -30]))
    heads = LinearExperts(DOMAINS, FEATURES, CLASSES)
    return RelatedNet(Pooled(), heads, relation).double()


class Training:
    """A network, an objective and an optimizer, and their steps as a task takes them."""

    def __init__(self, make: Callable[[], Objective]) -> None:
        objective = make()
        self.maps = isinstance(objective, PixelContrast)
        related = isinstance(objective, D3G)
        self.net: Any = make_related() if related else make_net(self.maps)
        self.objective = build(objective, self.maps)
        groups = [list(part.parameters()) for part in (self.net, self.objective)]
        for parameter in (p for group in groups for p in group):
            # Nothing is as it was by chance.
            torch.nn.init.normal_(parameter, std=0.3)
        self.optimizer = torch.optim.AdamW(
            [{'params': group} for group in groups if group], lr=0.01
        )

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.net, self.objective, self.optimizer

    def step(self, number: int) -> dict[str, Tensor]:
        torch.manual_seed(number)  # as a task does
        step = make_step(self.net, self.maps, progress=number / 8)
        step.batch['image'] = step.batch['image'] + 0.1 * number
        step.batch['lon'] = torch.linspace(-10, 80, 12)
        step.batch['lat'] = torch.linspace(-40, 30, 12)
        terms = self.objective(step).terms
        self.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()
        self.objective.after_step(self.net, self.optimizer)
        if number % EPOCH == EPOCH - 1:
            self.objective.before_use(self.net)
        return {name: term.detach() for name, term in terms.items()}

    def save(self) -> io.BytesIO:
        file = io.BytesIO()
        torch.save([part.state_dict() for part in self.parts], file)
        file.seek(0)
        return file

    def load(self, file: io.BytesIO) -> None:
        states = torch.load(file, weights_only=True)
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


@pytest.mark.parametrize(
    'make',
    [
        lambda: GroupDRO(step_size=0.5),
        # Their penalties set in after the first step that follows.
        lambda: IRM(anneal_steps=BEFORE + 1, weight=7.0),
        lambda: VREx(anneal_steps=BEFORE + 1),
        lambda: RDM(anneal_steps=BEFORE + 1),
        lambda: DANN(width=8),
        lambda: TargetDANN(width=8),
        lambda: AdvEnt(weight=1.0),
        lambda: PixelContrast(pixels=64, width=8),
        lambda: Fish(steps=2),
        lambda: D3G(),
    ],
    ids=[
        'GroupDRO',
        'IRM',
        'VREx',
        'RDM',
        'DANN',
        'TargetDANN',
        'AdvEnt',
        'PixelContrast',
        'Fish',
        'D3G',
    ],
)
def test_goes_on_exactly(make: Callable[[], Objective]) -> None:
    torch.manual_seed(0)
    training = Training(make)
    for number in range(BEFORE):
        training.step(number)
    file = training.save()
    following = range(BEFORE, BEFORE + 2)
    expected = [training.step(number) for number in following]

    torch.manual_seed(1)
    again = Training(make)
    again.load(file)
    found = [again.step(number) for number in following]
    exactly: Any = {'rtol': 0, 'atol': 0}
    torch.testing.assert_close(found, expected, **exactly)
    for one, other in zip(again.parts, training.parts, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), **exactly)
