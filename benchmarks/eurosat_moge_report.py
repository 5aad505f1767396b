# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The tables and the figure of ``eurosat_moge.py``, from the files of its runs."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from eurosat_countries import FOLDS
from eurosat_report import (
    Rows,
    complete,
    read_countries,
    read_folds,
    seed_noise,
    summarize,
    to_markdown,
)
from torchgeo_experts.domains import EARTH_RADIUS_KM, great_circle_angles, unit_vectors

SHARED = 'SharedExpert'

#: Rows of all folds and seeds.
MAIN: Rows = [
    ('ERM', 'erm', ''),
    ('ERM + location, concatenated', 'concat', ''),
    ('MoGE', 'moge', ''),
    ('MoGE, fading from 300 km on', 'moge-fade-300', ''),
    ('MoGE-SE, the shared expert alone', 'moge', SHARED),
]
#: Rows of all folds and the first seed.
OTHERS: Rows = [
    *MAIN,
    ('ERM + location, FiLM', 'film', ''),
    ('same cost, no gate', 'same-place', ''),
]
#: Rows of some folds and the first seed.
ABLATIONS: Rows = [
    *OTHERS,
    ('MoGE without CKA', 'no-cka', ''),
    ('MoGE without invariance', 'no-invariance', ''),
    ('MoGE-SE without invariance', 'no-invariance', SHARED),
    ('MoGE without balance', 'no-balance', ''),
    ('MoGE, 1 of 6 experts', 'experts-6-top-1', ''),
    ('MoGE, 6 of 6 experts', 'experts-6-top-6', ''),
    ('MoGE, 3 of 12 experts', 'experts-12-top-3', ''),
    ('MoGE without a shared expert', 'no-shared', ''),
    ('MoGE without a shared expert and CKA', 'no-shared-no-cka', ''),
    ('MoGE, GeoCLIP, frozen', 'geoclip', ''),
    ('MoGE-SE, GeoCLIP, frozen', 'geoclip', SHARED),
    ('MoGE, GeoCLIP, tuned', 'geoclip-tuned', ''),
    ('MoGE, Fourier', 'fourier', ''),
    ('MoGE, harmonics', 'harmonics', ''),
    ('MoGE, a fifth by the shared expert', 'shared-only', ''),
    ('MoGE-SE, a fifth by the shared expert', 'shared-only', SHARED),
    ('ERM + GeoCLIP, concatenated', 'concat-geoclip', ''),
]
#: Folds of the ablations: a far group and a near one.
ABLATION_FOLDS = ('southeast', 'north')
#: Distance that divides near and far countries, in km.
NEAR = 150
#: Arms that tell how alike experts are, and the fold whose matrices are read.
MATRIX_FOLD = 'southeast'
MATRICES = {
    'moge': 'shared expert and CKA',
    'no-cka': 'shared expert, no CKA',
    'no-shared': 'CKA, no shared expert',
    'no-shared-no-cka': 'neither',
}


def distances(table: Path) -> pd.Series:
    """Measure how far countries are from the training images of their fold.

    Returns:
        Median over the images of a country of the distance to the nearest training
        image, in km.
    """
    frame = pd.read_csv(table)
    folds = [c for c in frame if frame[c].isin(['train', 'test']).any()]
    found = {}
    for fold in folds:
        places = unit_vectors(*torch.tensor(frame[['lon', 'lat']].to_numpy()).T)
        training = places[torch.tensor((frame[fold] == 'train').to_numpy())]
        for country, rows in frame[frame[fold] == 'test'].groupby('country'):
            angles = great_circle_angles(places[rows.index.to_numpy()[::5]], training)
            nearest = np.median(angles.amin(dim=1).numpy())
            found[country] = EARTH_RADIUS_KM * nearest
    return pd.Series(found, name='km')


def gains(countries: pd.DataFrame, rows: Rows, km: pd.Series) -> pd.DataFrame:
    """Compare arms with ERM in each country: one row a country, nearest first."""
    erm = countries[countries['arm'] == 'erm'].set_index(['domain', 'seed'])
    found = {}
    for name, arm, rule in rows:
        mine = countries[countries['arm'] == arm].set_index(['domain', 'seed'])
        gain = 100 * (mine[f'{rule}OverallAccuracy'] - erm['OverallAccuracy'])
        found[name] = gain.dropna().groupby('domain').mean()
    return pd.DataFrame(found).join(km).sort_values('km')


def by_distance(found: pd.DataFrame) -> str:
    """Render the mean gain of near and of far countries."""
    near = found['km'] < NEAR
    lines = [
        f'| arm | {near.sum()} near | {(~near).sum()} far |',
        '| --- | --: | --: |',
    ]
    for name in found.columns.drop('km'):
        means = [found.loc[part, name].mean() for part in (near, ~near)]
        lines.append(f'| {name} | {means[0]:+.1f} | {means[1]:+.1f} |')
    return '\n'.join(lines)


def matrices(out: Path) -> str:
    """Render how alike experts are, and how much better each is on its own images."""
    lines = [
        '| arm | mean CKA of two routed experts | own images above others, points |',
        '| --- | --: | --: |',
    ]
    for arm, name in MATRICES.items():
        alike = [
            mean_off_diagonal(pd.read_csv(path, index_col=0).to_numpy()[:-1, :-1])
            for path in sorted(out.glob(f'{MATRIX_FOLD}-0/{arm}/id_test/cka.csv'))
        ]
        own = [
            dominance(pd.read_csv(path))
            for path in sorted(
                out.glob(f'{MATRIX_FOLD}-0/{arm}/id_test/expert_domains.csv')
            )
        ]
        if alike:
            points = 100 * np.mean(own)
            lines.append(f'| {name} | {np.mean(alike):.2f} | {points:+.1f} |')
    return '\n'.join(lines)


def mean_off_diagonal(matrix: np.ndarray) -> float:
    """Average what is not on the diagonal."""
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def dominance(table: pd.DataFrame) -> float:
    """Compare the accuracy of each expert on its own images with that of the others.

    Returns:
        The difference, averaged over images.
    """
    used = table[(table['samples'] > 0) & (table['first choice'] != 'unknown place')]
    values = used.iloc[:, 2:].to_numpy()
    index = used['first choice'].astype(int).to_numpy()
    own = values[np.arange(len(used)), index]
    others = (values.sum(axis=1) - own) / (values.shape[1] - 1)
    return float(np.average(own - others, weights=used['samples']))


def draw(found: pd.DataFrame) -> Figure:
    """Draw the gain of each country by its distance to the training images."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
    for name, marker in zip(found.columns.drop('km'), 'osD^v', strict=False):
        if name != 'ERM':
            axes.plot(found['km'], found[name], marker, label=name, alpha=0.7)
    for country, row in found.iterrows():
        farthest = row.drop('km').abs().idxmax()
        if abs(row[farthest]) >= 8:
            up = 1 if row[farthest] > 0 else -1
            axes.annotate(
                str(country),
                (row['km'], row[farthest]),
                fontsize=7,
                xytext=(0, 7 * up),
                textcoords='offset points',
                ha='center',
                va='center',
            )
    axes.axhline(0, color='grey', lw=0.8)
    axes.set(
        xlabel='distance of an unseen country to training images (median, km)',
        ylabel='points above ERM',
        xscale='log',
    )
    figure.legend(fontsize='small', loc='outside lower center', ncols=2)
    axes.grid(alpha=0.3)
    return figure


def report(args: argparse.Namespace) -> None:
    """Print the tables and save the figure."""
    countries, folds = read_countries(args.out), read_folds(args.out)
    km = distances(args.out / 'folds.csv')
    for title, rows, seeds, least in (
        ('All seeds', MAIN, None, len(FOLDS)),
        ('First seed', OTHERS, [0], len(FOLDS)),
        ('Some folds', ABLATIONS, [0], len(ABLATION_FOLDS)),
    ):
        chosen = (
            countries if seeds is None else countries[countries['seed'].isin(seeds)]
        )
        if least < len(FOLDS):
            chosen = chosen[chosen['fold'].isin(ABLATION_FOLDS)]
        run = chosen.groupby('arm')['fold'].nunique()
        rows = [row for row in rows if run.get(row[1], 0) == least]
        done = complete(chosen, rows)
        runs = sorted(set(zip(done['fold'], done['seed'], strict=True)))
        print(f'\n{title}: {runs}\n\n{to_markdown(summarize(done, folds, rows))}')
        found = gains(done, rows, km)
        print(f'\n{by_distance(found)}')
        if rows == MAIN:
            print(f'\n{found.round(1).to_string()}')
            noise = seed_noise(done) if done['seed'].nunique() > 1 else ()
            print(f'\nERM between seeds, in a country and in the mean: {noise}')
            draw(found).savefig(args.out / 'eurosat_moge.png', dpi=110)
    print(f'\n{matrices(args.out)}')
