# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import pytest

from torchgeo_experts.datasets.splits import share_out

NAMES = tuple('abcdefgh')


def test_each_in_one_split() -> None:
    drawn = [
        share_out(NAMES, {'test': 2, 'val': ['a'], 'train': 3}, seed, ['b'])
        for seed in range(40)
    ]
    for found in drawn:
        assert list(found) == ['test', 'val', 'train'] and found['val'] == ('a',)
        assert len({*found['test'], *found['val'], *found['train']}) == 6
    assert {n for found in drawn for n in found['test']} == set('cdefgh')
    assert drawn[3] == share_out(
        NAMES[::-1], {'test': 2, 'val': 'a', 'train': 3}, 3, ['b']
    )


def test_earlier_splits_stay() -> None:
    one, two = (share_out(NAMES, {'test': 2, 'val': n}) for n in (1, 3))
    assert one['test'] == two['test'] and set(one['val']) < set(two['val'])


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        ({'test': ['x'], 'val': 1}, r"domains \['x'\], found: \['a', 'b'"),
        ({'test': ['a', 'b'], 'val': ['b']}, r"found twice: \['b'\]"),
        ({'test': [], 'val': 1}, 'the test split needs at least one'),
        ({'test': 1, 'val': 0}, 'the val split needs at least one'),
        ({'test': 4, 'val': 5}, '8 domains with enough samples are left'),
        (
            {'test': list('abcdefgh'), 'val': 1},
            '0 domains with enough samples are left',
        ),
        ({'test': -1, 'val': 1}, 'the test split needs at least one'),
    ],
)
def test_errors(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_out(NAMES, wanted)


def test_integers_name_domains() -> None:
    chosen = share_out(('1', '2', '3'), {'test': [2], 'val': '3'})
    assert chosen == {'test': ('2',), 'val': ('3',)}


def test_some_are_left_to_train_on() -> None:
    share_out(NAMES, {'test': 4, 'val': 4})
    with pytest.raises(ValueError, match=r'not enough .* and to leave 1 to train on'):
        share_out(NAMES, {'test': 4, 'val': 4}, keep=1)
