# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Cubes of DynamicEarthNet and their splits."""

import os
import re
from collections.abc import Sequence

from torchgeo.datasets.utils import Path

from .place_series import check_splits
from .split_file import read_split_file

#: The official split, that of the data set's paper and of CoDEX. The data set's own
#: files of it are no longer online: training cubes are those with training labels, those
#: of validation are listed in the code of SitsSCD, the others are for test.
SPLITS = {
    'train': (
        *('1311_3077_13', '1417_3281_13', '1487_3335_13', '1700_3100_13'),
        *('2006_3280_13', '2029_3764_13', '2065_3647_13', '2235_3403_13'),
        *('2415_3082_13', '2459_4406_13', '2470_5030_13', '2528_4620_13'),
        *('2624_4314_13', '2697_3715_13', '2832_4366_13', '2850_4139_13'),
        *('3002_4273_13', '3998_3016_13', '4127_2991_13', '4169_3944_13'),
        *('4223_3246_13', '4240_3972_13', '4254_2915_13', '4397_4302_13'),
        *('4421_3800_13', '4426_3835_13', '4622_3159_13', '4768_4131_13'),
        *('4780_3377_13', '4791_3920_13', '4806_3588_13', '4838_3506_13'),
        *('4856_4087_13', '4881_3344_13', '5111_4560_13', '5125_4049_13'),
        *('5863_3800_13', '5926_3715_13', '5989_3554_13', '6204_3495_13'),
        *('6381_3681_13', '6466_3380_13', '6468_3360_13', '6475_3361_13'),
        *('6688_3456_13', '6730_3430_13', '6752_3115_13', '6810_3478_13'),
        *('6813_3313_13', '6824_4117_13', '7026_3201_13', '7312_3008_13'),
        *('7367_5050_13', '7513_4968_13', '8077_5007_13'),
    ),
    'val': (
        *('1973_3709_13', '2569_4513_13', '2789_4694_13', '4062_3943_13'),
        *('4666_2369_13', '5830_3834_13', '6353_3661_13', '6678_3579_13'),
        *('6761_3129_13', '7517_4908_13'),
    ),
    'test': (
        *('1286_2921_13', '1330_3107_13', '2196_3885_13', '3830_3914_13'),
        *('4523_4210_13', '4553_3325_13', '5195_3388_13', '5754_3601_13'),
        *('5912_3937_13', '6752_3104_13'),
    ),
}

_CUBE = re.compile(r'(\d{1,4}_\d{1,4})(_13)?(?!\d)')


def cube_of(name: str) -> str | None:
    """Read the cube from the name of a folder or file.

    Args:
        name: A name that begins with that of a cube: ``2235_3403_13-17N``.

    Returns:
        Its name, such as ``2235_3403_13``, if there is one.
    """
    found = _CUBE.match(name)
    return None if found is None else f'{found[1]}_13'


def read_splits(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read ``split.json``, where it is there.

    Args:
        folder: Where it may lie.

    Returns:
        Cubes of each split, sorted; the official ones without such a file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold three disjoint splits of cubes.
    """
    path = os.path.join(folder, 'split.json')
    if not os.path.exists(path):
        return SPLITS
    named = read_split_file(path)
    splits = {split: _cubes(path, split, named[split]) for split in SPLITS}
    check_splits(splits, [name for names in splits.values() for name in names], path)
    return splits


def _cubes(path: str, split: str, names: Sequence[str]) -> tuple[str, ...]:
    """Read the cubes of a split."""
    cubes = [cube_of(name) for name in names]
    if None in cubes:
        wrong = names[cubes.index(None)]
        raise ValueError(
            f'{path}: the {split} split must be a list of cubes, such as 1311_3077_13,'
            f' found {wrong!r}'
        )
    return tuple(sorted(name for name in cubes if name is not None))
