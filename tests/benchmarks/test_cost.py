# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import cost
from cost_uncontracted import (
    FORMS,
    LiveBytes,
    Work,
    check_forms,
    form_of,
    form_work,
    peak_bytes,
)
from torchgeo_experts.models import MultiUTAE, multiutae


class TestLiveBytes:
    def test_freed_tensors_and_views(self) -> None:
        first = torch.zeros(1000)
        counter = LiveBytes()
        counter.add(first)
        counter.add(first[:10])
        assert counter.live == 4000
        with counter:
            second = first.view(10, 100) + 1
            del first
            assert counter.live == 4000
            view = second.flatten()
            del second
            assert counter.live == 4000
            view.mul_(2)
            # Halves, and for a moment these with their squares.
            half = view.half()
            del view
            assert counter.live == 2000
            half = half * half
        assert (counter.live, counter.peak) == (2000, 8000)
        del half
        assert counter.live == 0

    def test_freed_memory_that_is_used_again(self) -> None:
        counter = LiveBytes()
        with counter:
            for _ in range(10):
                torch.zeros(1000).add_(1)
        assert (counter.live, counter.peak) == (0, 4000)

    def test_backward(self) -> None:
        layer, image = nn.Linear(100, 50, bias=False), torch.randn(10, 100)

        def run() -> None:
            layer.zero_grad()
            layer(image).sum().backward()

        # Weight, its gradient and input; the loss and its gradient. The output is
        # not kept for the backward pass of a sum.
        expected = 4 * (100 * 50 * 2 + 10 * 100 + 2)
        assert peak_bytes(Work(run, (layer,), {'image': image}), 'cpu') == expected

    def test_what_is_kept_for_the_backward_pass(self) -> None:
        layer, image = nn.Sequential(nn.Sigmoid(), nn.Sigmoid()), torch.randn(1000)
        image.requires_grad_()

        def run() -> None:
            torch.autograd.grad(layer(image).sum(), image)

        # Input, both outputs and a gradient, for which the next takes the second output's
        # place; the loss and its gradient.
        expected = 4 * (4 * 1000 + 2)
        assert peak_bytes(Work(run, (), {'image': image}), 'cpu') == expected

    def test_gradients_and_optimizer_from_earlier(self) -> None:
        layer = nn.Linear(1000, 1, bias=False)
        layer.register_buffer('buffer', torch.zeros(10))
        optimizer = torch.optim.AdamW(layer.parameters())
        layer(torch.ones(1, 1000)).sum().backward()
        optimizer.step()
        batch = {'image': torch.zeros(100), 'mask': torch.zeros(100, dtype=torch.int64)}
        work = Work(lambda: None, (layer,), batch, optimizer)
        # Weight, gradient, two moments; the number of the step; buffer and batch.
        expected = 4 * (4 * 1000 + 1 + 10 + 100 + 2 * 100)
        assert peak_bytes(work, 'cpu') == expected


class TestForms:
    def test_outputs_are_equal(self) -> None:
        check_forms((3, 4, 16, 24), 'cpu')

    def test_gradients_are_equal(self) -> None:
        gradients = []
        for form in FORMS:
            work = form_work(form, (3, 4, 16, 16), True, 'cpu')
            torch.manual_seed(2)
            work.run()
            gradients.append([p.grad for p in work.modules[0].parameters()])
        for other in gradients[1:]:
            for found, expected in zip(other, gradients[0], strict=True):
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize('form', FORMS)
    def test_forms_differ_and_are_undone(self, form: str) -> None:
        net, calls = MultiUTAE(4, 32), []
        kept = multiutae.attend_skip

        def note(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            calls.append(layer)

        for block in (net.stem, *net.down):
            first = block[0] if block is net.stem else block.down
            first.register_forward_hook(note)
        uncontracted, twice = FORMS[form]
        with form_of(net, form):
            assert (multiutae.attend_skip is not kept) == uncontracted
            net(torch.randn(1, 2, 4, 16, 16))
        assert len(calls) == (8 if twice else 4)
        assert multiutae.attend_skip is kept
        net(torch.randn(1, 2, 4, 16, 16))
        assert len(calls) == (12 if twice else 8)

    def test_published_form_takes_more_memory(self) -> None:
        published, ours = (
            peak_bytes(form_work(form, (8, 4, 32, 32), False, 'cpu'), 'cpu')
            for form in ('published', 'this package')
        )
        assert published > 1.5 * ours


SERIES = ['run', '--backbone=multiutae', '--size=16', '--dates=2', '--repetitions=2']
SERIES += ['--domains', '1', '3']


class TestRun:
    def test_rows_are_written_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / 'folder' / 'cost.csv'
        cost.main([*SERIES, f'--out={out}'])
        rows = pd.read_csv(out)
        assert rows.columns.tolist() == cost.KEYS + cost.NUMBERS
        parts = ['stage 1', 'stage 2', 'inference']
        assert rows['part'].tolist() == 2 * parts
        assert rows['domains'].tolist() == [1, 1, 1, 3, 3, 3]
        assert rows.notna().all(axis=None)
        assert (rows['ratio_low'] <= rows['ratio']).all()
        assert (rows['ratio'] <= rows['ratio_high']).all()
        # What is measured of memory is the same each time.
        out.write_text(''.join(out.read_text().splitlines(keepends=True)[:-1]))
        cost.main([*SERIES, f'--out={out}'])
        again = pd.read_csv(out)
        columns = ['part', 'domains', 'megabytes', 'baseline_megabytes']
        pd.testing.assert_frame_equal(again[columns], rows[columns])
        monkeypatch.delattr(cost, 'measure')
        cost.main([*SERIES, f'--out={out}'])

    def test_too_large_is_skipped_until_the_limit_allows(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / 'cost.csv'
        arguments = ['run', '--backbone=unet', '--size=32', '--batch=2', '--domains=3']
        arguments += ['--repetitions=1', f'--out={out}']
        for _ in range(2):
            cost.main([*arguments, '--limit=0.01'])
        assert len(pd.read_csv(out)) == 3
        cost.main(['report', f'--out={out}'])
        assert '| stage 1, LearnedAffinity | skipped: up to ' in capsys.readouterr().out
        cost.main(arguments)
        assert len(pd.read_csv(out)) == 6
        cost.main(['report', f'--out={out}'])
        assert 'skipped' not in capsys.readouterr().out

    def test_report(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = f'--out={tmp_path / "cost.csv"}'
        cost.main([*SERIES, '--repetitions=1', out])
        cost.main(['multiutae', '--sizes=16', '--dates=2', '--repetitions=1', out])
        cost.main(['report', out])
        lines = capsys.readouterr().out.splitlines()
        starts = [line.split('|')[1].strip() for line in lines if line[:1] == '|']
        assert starts == [
            *('', '---', 'stage 1, LearnedAffinity', 'stage 2, all experts'),
            *('inference, mixture', '', '---', *list(FORMS)[1:], 'goal, at most'),
        ]
        assert '|  | domains 1 | domains 3 |' in lines
        assert '|  | part training | part inference |' in lines


def test_variants_of_many_domains() -> None:
    setting = cost.Setting('MultiUTAE', (2, 4, 16, 16), 1, 'cpu')
    found = {d: [j.variant for j in setting.training_jobs(d)] for d in cost.DOMAINS}
    learned, subset = 'LearnedAffinity', '64 experts'
    assert found == {
        1: [learned, 'all experts'],
        10: [learned, 'all experts'],
        55: [learned, 'all experts'],
        200: [learned, 'all experts', subset],
        1000: [learned, subset],
        10_000: [learned, 'FactorizedAffinity', subset],
    }
    matrix, factors, _ = (job.extra for job in setting.training_jobs(10_000))
    # Number, gradient, two moments and two while it is updated.
    assert matrix - factors == pytest.approx(6 * 4 * (1e8 - 2 * 16 * 1e4))
