# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import io

import pytest
import torch

from torchgeo_experts.configurable import Configurable, from_config
from torchgeo_experts.models import Affinity, D3GAffinity, LearnedAffinity
from torchgeo_experts.objectives import ERM, ExpertTraining, Objective


def test_round_trip_keeps_class_and_arguments() -> None:
    config = D3GAffinity('embedding', temperature=3).to_config()
    made = from_config(config, Affinity)
    assert isinstance(made, D3GAffinity)
    assert (made.relation, made.fixed_share, made.temperature) == ('embedding', 0.8, 3)


def test_nested_modules_are_written_down() -> None:
    config = ExpertTraining(
        D3GAffinity(fixed_share=0.1), consistency_weight=2.0
    ).to_config()
    made = from_config(config, Objective)
    assert isinstance(made, ExpertTraining) and made.consistency_weight == 2
    assert isinstance(made.affinity, D3GAffinity) and made.affinity.fixed_share == 0.1


def test_recipes_are_plain_data() -> None:
    buffer = io.BytesIO()
    torch.save(ExpertTraining(D3GAffinity()).to_config(), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)
    assert isinstance(from_config(loaded, Objective), ExpertTraining)


def test_modules_are_returned_as_they_are() -> None:
    objective = ERM()
    assert from_config(objective, Objective) is objective


@pytest.mark.parametrize(
    'config',
    [
        {'class_path': 'torch.nn.Linear', 'init_args': {'in_features': 1}},
        {'class_path': 'os.system', 'init_args': {'command': 'true'}},
        LearnedAffinity().to_config(),
        {'init_args': {}},
        'ERM',
    ],
    ids=str,
)
def test_nothing_else_is_made(config: object) -> None:
    with pytest.raises(TypeError, match=r'Objective'):
        from_config(config, Objective)  # type: ignore[arg-type]


def test_arguments_must_stay_readable() -> None:
    class Forgetful(Configurable):
        def __init__(self, value: int) -> None:
            super().__init__()

    with pytest.raises(AttributeError, match='value'):
        Forgetful(1).to_config()
