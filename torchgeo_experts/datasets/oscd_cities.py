# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The cities of OSCD: where they are, and which are for training and for test."""

from collections.abc import Sequence

#: Longitude and latitude of the centres of the 14 cities of the official training split,
#: in degrees. They are centres of Sentinel-1 images that were cut on the boxes of the
#: cities (SebastianHafner/DS_UNet, revision 8bfa4be8); those of beirut and cupertino are
#: only known to about 0.1 degrees. Sorted by name: the order of the domains.
TRAIN_CITIES = {
    'abudhabi': (54.57719, 24.32894),
    'aguasclaras': (-48.02573, -15.83802),
    'beihai': (109.51995, 21.57381),
    'beirut': (35.5, 33.87),
    'bercy': (2.38027, 48.84365),
    'bordeaux': (-0.57595, 44.83873),
    'cupertino': (-122.02, 37.33),
    'hongkong': (114.25335, 22.30885),
    'mumbai': (72.92748, 19.06544),
    'nantes': (-1.54479, 47.2049),
    'paris': (2.33283, 48.82132),
    'pisa': (10.40164, 43.71656),
    'rennes': (-1.65308, 48.11314),
    'saclay_e': (2.25697, 48.70356),
}

#: Those of the 10 cities of the official test split.
TEST_CITIES = {
    'brasilia': (-47.88613, -15.74661),
    'chongqing': (106.29599, 29.41448),
    'dubai': (55.22384, 25.03708),
    'lasvegas': (-115.23638, 36.0241),
    'milano': (9.17571, 45.50295),
    'montpellier': (3.9034, 43.60086),
    'norcia': (13.0929, 42.79381),
    'rio': (-43.38333, -22.96804),
    'saclay_w': (2.17792, 48.70356),
    'valencia': (-0.42158, 39.50517),
}

CITIES = TRAIN_CITIES | TEST_CITIES

#: Training cities that are held out for validation unless others are named: the data set
#: has no validation split. They lie far from all others.
VAL_CITIES = ('beirut', 'hongkong', 'mumbai')


def split_cities(
    val_cities: Sequence[str], exclude_cities: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Share the cities out to splits.

    Args:
        val_cities: Cities of the official training split to hold out for validation.
        exclude_cities: Cities of the official training split to leave out.

    Returns:
        Sorted names of the cities of 'train', 'val' and 'test'.

    Raises:
        TypeError: If a list of names is a name.
        ValueError: If a name is none of the training cities or stands in both lists or
            twice, or no city is left to train on.
    """
    _check_names('val_cities', val_cities)
    _check_names('exclude_cities', exclude_cities)
    held_out = {*val_cities, *exclude_cities}
    if both := sorted(set(val_cities) & set(exclude_cities)):
        raise ValueError(f'{both} stand in val_cities and in exclude_cities')
    train = tuple(city for city in TRAIN_CITIES if city not in held_out)
    if not train:
        raise ValueError(
            'val_cities and exclude_cities leave no city to train on, out of'
            f' {list(TRAIN_CITIES)}'
        )
    return {'train': train, 'val': tuple(sorted(val_cities)), 'test': (*TEST_CITIES,)}


def _check_names(argument: str, names: Sequence[str]) -> None:
    """Refuse names that are no training cities, or repeat."""
    if isinstance(names, str):
        raise TypeError(f'{argument} must be a list of names, found {names!r}')
    if unknown := sorted(set(names) - set(TRAIN_CITIES)):
        raise ValueError(
            f'{argument}: {unknown} are no cities of the training split, choose from'
            f' {list(TRAIN_CITIES)}'
        )
    if len(set(names)) < len(names):
        raise ValueError(f'{argument} names a city twice: {list(names)}')
