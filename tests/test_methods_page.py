# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The guide's page on methods: what it shows is run, and what it lists is there."""

import re
import sys
from pathlib import Path

import pytest
import torch
from commands import torchgeo

import torchgeo_experts
from torchgeo_experts.shipped import config_names, config_path

PAGE = Path(__file__).parents[1] / 'docs/guide/methods.md'


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', PAGE.read_text(), re.DOTALL)


def test_method_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks('python')
    own = code[code.index('class ') :]
    assert len([line for line in own.splitlines() if line.strip()]) < 20
    (tmp_path / 'my_methods.py').write_text(code)
    (tmp_path / 'my_method.yaml').write_text(blocks('yaml')[1])
    monkeypatch.syspath_prepend(tmp_path)
    command = [
        *('--config', str(config_path('erm/synthetic_earth'))),
        *('--config', str(tmp_path / 'my_method.yaml')),
        *('--trainer.default_root_dir', str(tmp_path), '--trainer.max_epochs', '1'),
        *('--trainer.accelerator', 'cpu', '--trainer.enable_progress_bar', 'false'),
        *(
            '--data.init_args.samples_per_domain',
            '4',
            '--data.init_args.batch_size',
            '8',
        ),
        *('--model.init_args.model', 'test_resnet'),
    ]
    torchgeo(['fit', *command])
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    task = torchgeo_experts.DomainClassificationTask.load_from_checkpoint(
        last, weights_only=True
    )
    assert isinstance(task.objective, sys.modules['my_methods'].WorstDomain)
    assert task.objective.share == 0.3
    torchgeo(['test', *command, '--ckpt_path', str(last)])
    assert torch.load(last, weights_only=True)['global_step'] == 8


def test_every_method_is_listed() -> None:
    rows = re.findall(r'^\| ([`\w, ]*)\| `(\w+)`', PAGE.read_text(), re.MULTILINE)
    names = [name for names, _ in rows for name in re.findall(r'\w+', names)]
    listed = {f'objectives/{name}' for name in names}
    assert listed == {n for n in config_names() if n.startswith('objectives/')}
    for _, kind in rows:
        assert issubclass(getattr(torchgeo_experts, kind), torchgeo_experts.Objective)
