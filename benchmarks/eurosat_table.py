# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Make the table of EuroSAT by country: file, label, lon, lat, country.

Coordinates are those of the GeoTIFFs of EuroSAT MS (13 bands), countries those of any file
of polygons that geopandas reads, such as Natural Earth's admin-0 countries::

    python benchmarks/eurosat_table.py EuroSAT_MS countries.shp --column ADMIN metadata.csv

A patch off the coast gets the nearest country. Files are named as in the RGB edition,
``AnnualCrop/AnnualCrop_1.jpg``.
"""

import argparse
from pathlib import Path

import geopandas as gpd
import pandas as pd
import rasterio
from rasterio.warp import transform

#: Metres on Europe's land, for nearest neighbours.
PROJECTION = 'EPSG:3035'


def read_centres(folder: Path) -> pd.DataFrame:
    """Read the centre of each GeoTIFF, in degrees WGS 84."""
    rows = []
    for path in sorted(folder.glob('*/*.tif')):
        with rasterio.open(path) as image:
            x, y = image.transform @ (image.width / 2, image.height / 2)
            (lon,), (lat,) = transform(image.crs, 'EPSG:4326', [x], [y])
        name = f'{path.parent.name}/{path.stem}.jpg'
        rows.append((name, path.parent.name, round(lon, 6), round(lat, 6)))
    if not rows:
        raise SystemExit(f'no <class>/<name>.tif in {folder}')
    return pd.DataFrame(rows, columns=['filename', 'label', 'lon', 'lat'])


def add_countries(table: pd.DataFrame, polygons: Path, column: str) -> pd.DataFrame:
    """Add the country that each centre lies in or is nearest to."""
    countries = gpd.read_file(polygons)
    if column not in countries:
        raise SystemExit(f'{polygons} has no column {column}: {list(countries)}')
    countries = countries[[column, 'geometry']].to_crs(PROJECTION)
    points = gpd.points_from_xy(table['lon'], table['lat'], crs='EPSG:4326')
    centres = gpd.GeoDataFrame(table, geometry=points).to_crs(PROJECTION)
    joined = centres.sjoin_nearest(countries, how='left')
    # A centre on a border is as near to both countries: keep one.
    joined = joined[~joined.index.duplicated()]
    return table.assign(country=joined[column])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('images', type=Path)
    parser.add_argument('polygons', type=Path)
    parser.add_argument('table', type=Path)
    parser.add_argument('--column', default='ADMIN')
    args = parser.parse_args()
    table = add_countries(read_centres(args.images), args.polygons, args.column)
    table.to_csv(args.table, index=False)
    print(f'{len(table)} images in {table["country"].nunique()} countries')


if __name__ == '__main__':
    main()
