# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tables and paired differences, against loops and by hand."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from torchgeo_experts.__main__ import main
from torchgeo_experts.benchmark.compare import (
    Row,
    compare,
    domain_scores,
    interval,
    seed_means,
)
from torchgeo_experts.benchmark.execute import read_test
from torchgeo_experts.benchmark.figure import draw
from torchgeo_experts.benchmark.results import COLUMNS, read_results, write_results
from torchgeo_experts.benchmark.tables import make_table
from torchgeo_experts.benchmark.text import difference, to_latex, to_markdown
from torchgeo_experts.metrics import Scores
from torchgeo_experts.tasks.tables import write_domains

ERM, OTHER = Row('ERM', 'ERM'), Row('Other', 'Other')
METRIC = 'OverallAccuracy'
#: Domains of each fold, as they are when each is held out once.
HELD_OUT = {'north': ['a', 'b'], 'south': ['c', 'd', 'e']}


def make_frame(
    score: Any,
    methods: tuple[str, ...] = ('ERM', 'Other'),
    seeds: tuple[int, ...] = (0, 1, 2),
    folds: dict[str, list[str]] = HELD_OUT,
) -> pd.DataFrame:
    """Make a tidy table; *score* is a function of method, fold, domain and seed."""
    rows = []
    same: dict[str, Any] = dict.fromkeys(COLUMNS, '1')
    same |= {'split': 'test', 'selection': 'last'}
    same |= {'seconds': 90.0, 'memory_mb': 512.3, 'ranked': True}
    for method, seed, (fold, domains) in itertools.product(
        methods, seeds, folds.items()
    ):
        key = {'method': method, 'seed': seed, 'fold': fold}
        scores = {d: score(method, fold, d, seed) for d in domains}
        values = {(d, METRIC): v for d, v in scores.items()}
        values['', METRIC] = float(np.mean(list(scores.values())))
        values['', f'WorstDomain{METRIC}'] = min(scores.values())
        values['', 'loss'] = 1 - values['', METRIC]
        for (domain, metric), value in values.items():
            place = {'domain': domain, 'metric': metric, 'value': value}
            rows.append(same | key | place)
    return pd.DataFrame(rows, columns=COLUMNS)


def drawn(seed: int = 0) -> Any:
    """Make scores that are drawn once for each key."""
    generator, known = np.random.default_rng(seed), {}

    def score(*key: Any) -> float:
        return known.setdefault(key, float(generator.uniform()))

    return score


def without(frame: pd.DataFrame, **keys: Any) -> pd.DataFrame:
    """Leave the rows with all these values out."""
    out = pd.Series(True, frame.index)
    for key, value in keys.items():
        out &= frame[key].eq(value)
    return frame[~out]


class TestMeans:
    def test_by_hand(self) -> None:
        score = drawn()
        means = seed_means(make_frame(score), OTHER, METRIC)
        for seed in range(3):
            found = {
                d: score('Other', fold, d, seed)
                for fold, domains in HELD_OUT.items()
                for d in domains
            }
            folds = [np.mean([found[d] for d in ds]) for ds in HELD_OUT.values()]
            assert means['overall'][seed] == pytest.approx(np.mean(folds))
            assert means['mean'][seed] == pytest.approx(np.mean(list(found.values())))
            assert means['worst'][seed] == min(found.values())

    def test_worst_is_that_of_the_test(self) -> None:
        """A domain that does not compete may be lower."""
        frame = make_frame(drawn())
        frame.loc[frame['metric'].str.startswith('Worst'), 'value'] = 0.9
        assert (seed_means(frame, ERM, METRIC)['worst'] == 0.9).all()
        plain = frame[~frame['metric'].str.startswith('Worst')]
        assert (seed_means(plain, ERM, METRIC)['worst'] < 0.9).all()

    def test_worst_loss_is_the_highest(self) -> None:
        means = seed_means(make_frame(drawn()), ERM, 'loss')
        assert (means['worst'] >= means['overall']).all()

    def test_domain_in_several_folds_counts_once(self) -> None:
        folds = {'one': ['a', 'b'], 'two': ['a']}
        frame = make_frame(lambda m, fold, d, s: float(fold == 'one'), folds=folds)
        # Domain a: 0.5, domain b: 1.
        assert seed_means(frame, ERM, METRIC)['mean'].tolist() == [0.75] * 3

    def test_unseen_places_of_folds_are_different_ones(self) -> None:
        folds = {'one': ['unseen'], 'two': ['unseen']}
        found = domain_scores(make_frame(drawn(), folds=folds), ERM, METRIC)
        assert set(found['domain']) == {'unseen of one', 'unseen of two'}

    def test_domains_that_do_not_compete(self) -> None:
        """Only the score of the whole split knows them."""
        folds = {'one': ['a', 'b', 'Other']}
        low = {'a': 0.5, 'b': 0.75, 'Other': 0.125}
        frame = make_frame(lambda m, f, domain, s: low[domain], folds=folds)
        frame['ranked'] = frame['domain'].ne('Other')
        # Of decisions that tests log no worst domain of.
        frame = frame[~frame['metric'].str.startswith('Worst')]
        means = seed_means(frame, ERM, METRIC)
        assert means['mean'].tolist() == [0.625] * 3
        assert means['worst'].tolist() == [0.5] * 3
        assert means['overall'] == pytest.approx(sum(low.values()) / 3)
        alone = frame[frame['domain'].isin(['', 'Other'])]
        assert not len(seed_means(alone, ERM, METRIC)['mean'])

    def test_names_of_decisions(self) -> None:
        frame = make_frame(drawn())
        frame['metric'] = 'SharedExpertAverageF1Score'
        shared = Row('MoGE-SE', 'ERM', 'SharedExpert')
        assert len(domain_scores(frame, shared, 'PresentF1Score')) == 15


class TestDifference:
    def test_mean_and_counts(self) -> None:
        score = drawn()
        found = compare(make_frame(score), OTHER, ERM, METRIC)
        assert found is not None
        expected = [
            score('Other', fold, d, seed) - score('ERM', fold, d, seed)
            for fold, domains in HELD_OUT.items()
            for d in domains
            for seed in range(3)
        ]
        assert found.mean == pytest.approx(np.mean(expected))
        assert (found.runs, found.domains, found.seeds) == (6, 5, 3)
        assert found.low < found.mean < found.high

    def test_only_runs_that_both_have(self) -> None:
        score = drawn()
        frame = make_frame(score)
        frame = without(frame, method='ERM', fold='north', seed=1)
        frame = without(frame, method='Other', fold='south', seed=2)
        found = compare(frame, OTHER, ERM, METRIC)
        assert found is not None and found.runs == 4
        used = [(f, s) for f in HELD_OUT for s in range(3)]
        used = [u for u in used if u not in (('north', 1), ('south', 2))]
        expected = [
            score('Other', f, d, s) - score('ERM', f, d, s)
            for f, s in used
            for d in HELD_OUT[f]
        ]
        assert found.mean == pytest.approx(np.mean(expected))

    def test_domains_that_do_not_compete(self) -> None:
        def score(method: str, fold: str, domain: str, seed: int) -> float:
            return 0.25 * (method == 'Other') * (1 if domain != 'e' else -3)

        frame = make_frame(score)
        frame['ranked'] = frame['domain'].ne('e')
        found = compare(frame, OTHER, ERM, METRIC)
        assert found is not None
        assert (found.domains, found.runs) == (4, 6)
        assert (found.mean, found.low, found.high) == pytest.approx((0.25,) * 3)

    def test_nothing_in_common(self) -> None:
        frame = make_frame(drawn())
        frame = without(without(frame, method='ERM', seed=0), method='ERM', seed=1)
        frame = without(frame, method='Other', seed=2)
        assert compare(frame, OTHER, ERM, METRIC) is None

    def test_same_difference_everywhere(self) -> None:
        base = drawn()

        def score(method: str, *key: Any) -> float:
            return base(*key) + 0.25 * (method == 'Other')

        found = compare(make_frame(score), OTHER, ERM, METRIC)
        assert found is not None
        assert (found.mean, found.low, found.high) == pytest.approx((0.25,) * 3)

    def test_metric_that_domains_do_not_have(self) -> None:
        found = compare(make_frame(drawn()), OTHER, ERM, 'loss')
        assert found is not None
        assert (found.domains, found.seeds) == (2, 3)


class TestInterval:
    def test_against_a_loop(self) -> None:
        generator = np.random.default_rng(1)
        table = generator.normal(size=(6, 4))
        table[2, 1] = table[5, 0] = np.nan
        means = []
        for _ in range(20_000):
            domains = generator.integers(0, 6, 6)
            seeds = generator.integers(0, 4, 4)
            means.append(np.nanmean(table[np.ix_(domains, seeds)]))
        expected = np.percentile(means, [2.5, 97.5])
        assert interval(table) == pytest.approx(expected, abs=0.03)

    def test_one_seed_is_the_bootstrap_over_domains(self) -> None:
        scipy = pytest.importorskip('scipy.stats')
        values = np.random.default_rng(2).normal(size=30)
        expected = scipy.bootstrap(
            (values,), np.mean, method='percentile', n_resamples=20_000, rng=0
        ).confidence_interval
        found = interval(values[:, None])
        assert found == pytest.approx((expected.low, expected.high), abs=0.02)

    def test_covers_the_truth(self) -> None:
        """With effects of domains and of seeds; one over domains alone would not."""
        generator = np.random.default_rng(3)
        hits, narrow = [], []
        for _ in range(150):
            effects = generator.normal(size=(10, 1)) + 2 * generator.normal(size=(1, 8))
            table = effects + generator.normal(size=(10, 8))
            low, high = interval(table, 500)
            hits.append(low < 0 < high)
            low, high = interval(table.mean(axis=1, keepdims=True), 500)
            narrow.append(low < 0 < high)
        assert np.mean(hits) > 0.85 > np.mean(narrow) + 0.1

    def test_single_value_and_draws_without_any(self) -> None:
        assert interval(np.array([[0.3]])) == pytest.approx((0.3, 0.3))
        table = np.array([[1.0, np.nan], [np.nan, 2.0]])
        assert interval(table) == pytest.approx((1.0, 2.0))


class TestTable:
    def make(self, frame: pd.DataFrame, metric: str = METRIC) -> Any:
        return make_table(frame, 'test', [ERM, OTHER], 'ERM', metric)

    def test_markdown(self) -> None:
        scores = {'ERM': 0.5, 'Other': 0.625}
        frame = make_frame(lambda m, f, d, s: scores[m] + 0.01 * s)
        frame['selection'] = 'lowest val_loss'
        text = to_markdown(self.make(frame), 'other countries')
        assert '| ERM | 51.0 ± 1.0 | 51.0 ± 1.0 | 51.0 ± 1.0 | - | 6 |' in text
        bold = '**63.5 ± 1.0**'
        row = f'| Other | {bold} | {bold} | {bold} | +12.5 [+12.5, +12.5] | 6 |'
        assert f'{row} lowest val_loss | 90 s | 512 |' in text
        assert 'both have run (6)' in text and 'domains (5) and seeds (3)' in text
        assert 'chosen on the validation split (other countries)' in text
        assert 'compete' not in text and 'Without values' not in text

    def test_incomplete_rows_do_not_compete(self) -> None:
        frame = make_frame(lambda m, f, d, s: 0.5 + 0.25 * (m == 'Other'))
        frame = without(frame, method='Other', fold='north', seed=0)
        table = self.make(frame)
        assert [line.best for line in table.lines][1] == frozenset()
        text = to_markdown(table)
        assert '| only 5 |' in text and 'lack folds or seeds that others' in text
        # The runs of the pairs are fewer than those of the row.
        frame = without(frame, method='ERM', fold='south', seed=1)
        assert '(4 runs)' in difference(self.make(frame).lines[1], 100)

    def test_other_folds_are_not_all_folds(self) -> None:
        """As many runs, and not the same ones: neither competes."""
        frame = make_frame(drawn(), folds=HELD_OUT | {'west': ['f']})
        frame = without(frame, method='ERM', fold='west')
        frame = without(frame, method='Other', fold='south')
        table = self.make(frame)
        assert [line.runs for line in table.lines] == [6, 6]
        assert not any(line.best or line.complete for line in table.lines)
        assert to_markdown(table).count('| only 6 |') == 2

    def test_rows_without_values_are_named(self) -> None:
        rows = [ERM, OTHER, Row('typo', 'Other', 'Unifrom'), Row('SVM', 'SVM')]
        table = make_table(make_frame(drawn()), 'test', rows, 'ERM', METRIC)
        assert 'Without values: typo, SVM.' in to_markdown(table)

    def test_oracle_is_never_the_best(self) -> None:
        frame = make_frame(lambda m, f, d, s: 0.5)
        oracle = frame[frame['method'].eq('Other')].assign(value=0.9)
        oracle['metric'] = 'Oracle' + oracle['metric']
        rows = [ERM, OTHER, Row('oracle', 'Other', 'Oracle')]
        table = make_table(pd.concat([frame, oracle]), 'test', rows, 'ERM', METRIC)
        assert [bool(line.best) for line in table.lines] == [True, True, False]
        assert table.lines[2].difference is not None

    def test_loss(self) -> None:
        frame = make_frame(lambda m, f, d, s: 0.5 + 0.25 * (m == 'Other'))
        text = to_markdown(self.make(frame, 'loss'))
        assert '| **0.250 ± 0.000** |' in text and '-0.250 [' in text
        assert 'percent' not in text

    def test_latex(self) -> None:
        rows = [Row('A & B_1', 'ERM'), OTHER]
        frame = make_frame(lambda m, f, d, s: 0.5 + 0.25 * (m == 'Other'), seeds=(0,))
        table = make_table(frame, 'test', rows, 'A & B_1', METRIC)
        text = to_latex(table)
        assert r'A \& B\_1 & 50.0 & ' in text and r'Other & \textbf{75.0} & ' in text
        assert text.count('{') == text.count('}') and r'[95 \%]' in text
        columns = text.split('tabular}{')[1].split('}')[0]
        assert all(
            line.count(' & ') == len(columns) - 1
            for line in text.splitlines()
            if line.endswith(r'\\')
        )

    def test_special_labels(self) -> None:
        """No argument of the line before in LaTeX, and no formula in the figure."""
        rows = [Row('[ours]', 'ERM'), Row(r'$\frac$', 'Other')]
        table = make_table(make_frame(drawn()), 'test', rows, '[ours]', METRIC)
        assert '\n{}[ours] & ' in to_latex(table)
        figure = draw([table])
        figure.canvas.draw()
        (label,) = figure.axes[0].get_yticklabels()
        assert label.get_text() == r'\$\frac\$'

    def test_errors(self) -> None:
        frame = make_frame(drawn())
        with pytest.raises(ValueError, match=f'no run has .*: {METRIC}'):
            self.make(frame, 'Accuracy')
        with pytest.raises(
            ValueError, match="'SVM' has no finished run; there are: ERM"
        ):
            make_table(frame, 'test', [ERM], 'SVM', METRIC)


class TestReport:
    def test_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        frame = make_frame(drawn(), folds={'one': ['NA', 'b']})
        second = frame.assign(split='ID test', torch='2')
        pd.concat([frame, second]).to_csv(tmp_path / 'results.csv', index=False)
        main(['report', str(tmp_path), '--baseline', 'Other'])
        shown = capsys.readouterr().out
        assert shown.count('to Other [95 %]') == 2
        assert 'several versions of torch: 1, 2.' in shown
        assert (tmp_path / 'report.md').read_text() == shown
        assert (tmp_path / 'report.tex').read_text().count(r'\begin{table}') == 2
        assert (tmp_path / 'report.png').stat().st_size > 10_000
        # A domain may be called NA, for Namibia.
        assert set(read_results(tmp_path)['domain']) == {'', 'NA', 'b'}

    def test_who_competes_is_read_from_tests(self, tmp_path: Path) -> None:
        """From the table that a task writes to that of all runs, and back from CSV."""
        folder, run = tmp_path / 'test', tmp_path / 'out/runs/ERM/all/0'
        scores = {METRIC: torch.tensor([0.5, 0.25, torch.nan])}
        tables = {'': Scores(torch.tensor([4, 8, 0]), scores, {})}
        names, ranked = ['Asia', 'Other', 'unseen'], [True, False, True]
        write_domains(folder / 'domains.csv', names, ['Asia'], ranked, tables)
        (folder / 'metrics.csv').write_text(f'epoch,test_{METRIC}\n3,0.4\n')
        result: dict[str, Any] = {'method': 'ERM', 'seed': 0, 'fold': 'all'}
        result |= {'selection': 'last', 'hash': '1', 'versions': {}}
        result['fit'] = {'seconds': 1, 'memory_mb': 2}
        run.mkdir(parents=True)
        told = json.dumps(result | {'tests': {'test': read_test(folder)}})
        (run / 'result.json').write_text(told)
        expected = {('', METRIC): True, ('Asia', METRIC): True}
        expected |= {('Other', METRIC): False, ('Asia', 'samples'): True}
        expected |= {('Other', 'samples'): False}
        write_results(tmp_path / 'out')
        (run / 'result.json').unlink()
        frame = read_results(tmp_path / 'out')
        found = zip(frame['domain'], frame['metric'], frame['ranked'], strict=True)
        assert {(domain, metric): bool(r) for domain, metric, r in found} == expected
        # All compete in a table that does not tell.
        table = tmp_path / 'out/results.csv'
        frame.drop(columns='ranked').to_csv(table, index=False)
        assert read_results(tmp_path / 'out')['ranked'].all()

    def test_errors(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(['report', str(tmp_path)])
        assert 'no finished runs' in capsys.readouterr().err
        table, run = tmp_path / 'results.csv', tmp_path / 'runs/ERM/all/0'
        for text, message in {
            ','.join(COLUMNS): 'no finished runs: benchmark tells',
            '': 'is no table of a benchmark',
            'a,b\n1,2': 'no column method, seed',
        }.items():
            table.write_text(text)
            with pytest.raises(SystemExit):
                main(['report', str(tmp_path)])
            assert message in capsys.readouterr().err
        run.mkdir(parents=True)
        (run / 'result.json').write_text('{}')
        with pytest.raises(SystemExit):
            main(['report', str(tmp_path)])
        assert 'result.json is not what a run has written' in capsys.readouterr().err
