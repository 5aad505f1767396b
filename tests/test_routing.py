# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Maps of routes, and the command that draws them."""

import csv
import math
from itertools import combinations
from pathlib import Path

import pytest
import torch

from conftest import ToyDataModule
from torchgeo_experts.__main__ import main
from torchgeo_experts.models import (
    FourierEncoder,
    MoGEBackbone,
    MoGEConfig,
    TimmBackbone,
)
from torchgeo_experts.routing import Area, RoutingMap, effective_number


def make_backbone(num_experts: int = 4, **kwargs: object) -> MoGEBackbone:
    torch.manual_seed(0)
    config = MoGEConfig(blocks=(3, 5), num_experts=num_experts, top_k=2, **kwargs)  # type: ignore[arg-type]
    return MoGEBackbone(TimmBackbone('test_vit'), FourierEncoder(), config).eval()


def train_at(backbone: MoGEBackbone, lon: list[float], lat: list[float]) -> None:
    backbone.coverage.mark(torch.tensor(lon), torch.tensor(lat))


def test_area() -> None:
    assert Area.around(torch.tensor([]), torch.tensor([])) == (-180, 180, -90, 90)
    near = Area.around(torch.tensor([5.5, 20.5]), torch.tensor([50.5, 85.5]))
    assert near == (-4.5, 30.5, 40.5, 90)
    apart = Area.around(torch.tensor([-100.0, 20.0]), torch.tensor([0.0, 0.0]))
    assert apart == (-180, 180, -90, 90)


def test_cells_are_what_the_gates_say() -> None:
    backbone = make_backbone()
    train_at(backbone, [5.2, 20.7], [50.1, 40.3])
    routing = RoutingMap.of(backbone, 0)
    assert routing.area == (-4.5, 30.5, 30.5, 60.5)
    i, j = 17, 123
    lon, lat = routing.lon[j], routing.lat[i]
    assert routing.lat[0] > routing.lat[-1] and 30.5 < lat < 60.5
    weights = backbone.route(lon[None], lat[None])[0].weights
    torch.testing.assert_close(routing.weights[i, j], weights[0])
    distance = backbone.coverage.distance(lon[None], lat[None])
    torch.testing.assert_close(routing.distance[i, j], distance[0])
    row = routing.rows()[i * len(routing.lon) + j]
    named = dict(zip(routing.header, row, strict=True))
    assert named['lon'] == pytest.approx(float(lon), abs=1e-3)
    assert named['3'] == pytest.approx(weights[0, 3].item(), abs=1e-6)
    assert routing.seen.T.tolist() == [[5.5, 50.5], [20.5, 40.5]]


def test_mode_is_kept() -> None:
    backbone = make_backbone().train()
    RoutingMap.of(backbone)
    assert backbone.training and backbone.gates.training


def test_faded_map() -> None:
    backbone = make_backbone(fade_km=300.0)
    train_at(backbone, [5.2], [50.1])
    routing = RoutingMap.of(backbone)
    total = routing.weights.sum(dim=2)
    assert total[routing.distance > 600].eq(0).all()
    torch.testing.assert_close(total.max(), torch.tensor(1.0))
    figure = routing.plot()
    (legend,) = (ax.get_legend() for ax in figure.axes if ax.get_legend())
    assert 'shared' in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize('num_experts', [4, 6])
def test_nothing_overlaps(num_experts: int) -> None:
    backbone = make_backbone(num_experts)
    train_at(backbone, [5.2], [50.1])
    figure = RoutingMap.of(backbone).plot()
    figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]  # with their labels
    assert len(boxes) >= num_experts + 4  # with bars of two colour scales
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_effective_number() -> None:
    assert effective_number(torch.ones(4)) == pytest.approx(4)
    assert effective_number(torch.tensor([0.0, 3.0])) == pytest.approx(1)
    half = torch.tensor([0.5, 0.25, 0.25])
    assert effective_number(half) == pytest.approx(math.exp(1.5 * math.log(2)))


def test_command(
    toy: ToyDataModule, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from lightning.pytorch import Trainer

    from torchgeo_experts import DomainClassificationTask, MoGEClassificationTask

    quiet = {'enable_progress_bar': False, 'enable_model_summary': False}
    run = Trainer(accelerator='cpu', max_epochs=1, default_root_dir=tmp_path, **quiet)
    vit = {'model': 'test_vit', 'model_args': {'img_size': 32}, 'num_classes': 3}
    task = MoGEClassificationTask(**vit, blocks=(3, 5), num_experts=4, top_k=2)
    run.fit(task, datamodule=toy)
    run.save_checkpoint(tmp_path / 'moge.ckpt')
    main(['routing', str(tmp_path / 'moge.ckpt'), '--out', str(tmp_path / 'out')])
    told = capsys.readouterr().out
    assert 'block 3: gamma 0.50' in told and 'block 5' in told
    with (tmp_path / 'out' / 'routing_5.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(rows[0][str(e)]) for e in range(4)) == pytest.approx(1, abs=1e-5)
    assert float(rows[0]['distance_km']) < 20000
    assert (tmp_path / 'out' / 'routing_3.png').stat().st_size > 5000

    other = DomainClassificationTask(**vit)
    run = Trainer(accelerator='cpu', max_epochs=1, default_root_dir=tmp_path, **quiet)
    run.fit(other, datamodule=toy)
    run.save_checkpoint(tmp_path / 'erm.ckpt')
    with pytest.raises(SystemExit):
        main(['routing', str(tmp_path / 'erm.ckpt')])
    assert 'has no gates' in capsys.readouterr().err
