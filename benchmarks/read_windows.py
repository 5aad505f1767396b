# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How fast patches of monthly series are read, against decoding whole images.

Files in the form of DynamicEarthNet (24 images of four int16 bands and 24 maps of seven
bands) and of SpaceNet 7 (24 images of four uint8 bands and 24 GeoJSON files of
footprints) are made first, tiled and striped, with two compressions. Then patches of
128 x 128 pixels are read in random order, by the readers of this package and by decoding
all 24 images and cutting the patch out. Both take turns in one run, and must read the
same values::

    python benchmarks/read_windows.py --repeats 5

Files are in the page cache by then. Times include the start of the workers, and batches
of four; the spread is that of the turns. ``MiB`` is by how much the memory of a worker
grows at most, two batches included. (This needs Linux.)
"""

import argparse
import itertools
import os
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from series_files import CUBE, PLACE, scene, write_cube, write_place
from torchgeo_experts.datasets.dynamicearthnet_raw import RawReader
from torchgeo_experts.datasets.muds_footprints import draw_mask
from torchgeo_experts.datasets.muds_spacenet7 import (
    MONTHS,
    SpaceNet7Reader,
    find_places,
)
from torchgeo_experts.datasets.place_series import (
    GRID,
    IGNORED,
    PATCH,
    SeriesReader,
    Window,
)

BATCH = 4

#: How images are stored.
LAYOUTS: dict[str, dict[str, Any]] = {
    'tiled 256': {'tiled': True, 'blockxsize': 256, 'blockysize': 256},
    'striped': {},
}
COMPRESSIONS = ('deflate', 'LZW')


class WholeCubes(RawReader):
    """Decodes all 24 images of DynamicEarthNet, and cuts the patch out."""

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images."""
        part = cut([decode(path) for (path,) in self.images[place]], window)
        return torch.from_numpy(part[:, [2, 1, 0, 3]].astype(np.float32))

    def read_labels(self, place: str, window: Window) -> np.ndarray:
        """Read a part of all labels."""
        holds = cut([decode(path) for (path,) in self.labels[place]], window) > 0
        return np.where(holds.sum(axis=1) == 1, holds.argmax(axis=1), IGNORED)


class WholeSpaceNet7(SpaceNet7Reader):
    """Decodes all 24 images of SpaceNet 7, draws all 24 masks, and cuts the patch out."""

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images."""
        images = [decode(self._path(place, 'images', m, '.tif')) for m in MONTHS]
        return torch.from_numpy(cut(images, window)[:, :3].astype(np.float32))

    def read_masks(self, place: str, window: Window) -> Tensor:
        """Draw all masks, and take a part."""
        masks = [draw_mask(*self._files(place, month)) for month in range(len(MONTHS))]
        return torch.from_numpy(cut(masks, window).astype(np.int64))


def decode(path: str) -> np.ndarray:
    """Decode a whole image."""
    with rasterio.open(path) as image:
        return image.read()


def cut(images: Sequence[np.ndarray], window: Window) -> np.ndarray:
    """Cut a patch out of whole images."""
    rows = slice(window.row, window.row + window.size)
    columns = slice(window.column, window.column + window.size)
    return np.stack([image[..., rows, columns] for image in images])


class Patches(Dataset[dict[str, Tensor]]):
    """All patches of one place."""

    def __init__(self, reader: SeriesReader, place: str, masks: bool) -> None:
        """Initialize a new Patches instance."""
        self.reader, self.place, self.masks = reader, place, masks

    def __len__(self) -> int:
        """Return the number of patches."""
        return GRID * GRID

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Read a patch."""
        row, column = divmod(index, GRID)
        window = Window(row * PATCH, column * PATCH, PATCH)
        sample = {'image': self.reader.read_images(self.place, window)}
        if self.masks:
            sample['mask'] = self.reader.read_masks(self.place, window)
        return sample | {'grown': torch.tensor(most_memory() - STARTED['memory'])}


#: Memory of this process when it began to read, in KiB.
STARTED = {'memory': 0}


def most_memory() -> int:
    """Tell the most memory that this process ever had, in KiB."""
    # Not by getrusage: a process begins with the most that its parent ever had.
    found = re.search(r'VmHWM:\s*(\d+) kB', Path('/proc/self/status').read_text())
    assert found is not None
    return int(found[1])


def start_worker(number: int) -> None:
    """Remember the memory that a worker begins with."""
    STARTED['memory'] = most_memory()


def load(patches: Patches, count: int, seed: int, **kwargs: Any) -> list[Tensor]:
    """Read patches in random order, and tell the growth in memory with each batch."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(patches), generator=generator)[:count].tolist()
    loader = DataLoader(Subset(patches, order), BATCH, **kwargs)
    return [batch['grown'] for batch in loader]


def patches_a_second(patches: Patches, workers: int, count: int, seed: int) -> float:
    """Time how fast patches are read, the start of the workers included."""
    context = 'fork' if workers else None
    start = time.perf_counter()
    load(patches, count, seed, num_workers=workers, multiprocessing_context=context)
    return count / (time.perf_counter() - start)


def grown_memory(patches: Patches) -> float:
    """Measure by how many MiB the memory of a fresh worker grows at most."""
    grown = load(
        patches,
        2 * BATCH,
        0,
        num_workers=1,
        multiprocessing_context='spawn',
        worker_init_fn=start_worker,
    )
    return max(int(each.max()) for each in grown) / 1024


def compare(name: str, ours: Patches, naive: Patches, args: argparse.Namespace) -> None:
    """Let both ways take turns, and print a row for each number of workers."""
    for index in (0, 37, 63):
        one, other = ours[index], naive[index]
        for key in one.keys() - {'grown'}:
            torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)
    memory = [f'{grown_memory(patches):.0f}' for patches in (ours, naive)]
    for workers in args.workers:
        speeds = [
            (
                patches_a_second(ours, workers, args.patches, repeat),
                patches_a_second(naive, workers, args.naive_patches, repeat),
            )
            for repeat in range(args.repeats)
        ]
        ways = [spread(way) for way in zip(*speeds, strict=True)]
        ratio = spread([fast / slow for fast, slow in speeds])
        print(
            '|',
            ' | '.join([name, str(workers), *ways, ratio, *memory]),
            '|',
            flush=True,
        )


def spread(values: Sequence[float]) -> str:
    """Write the median, the least and the most."""
    middle = statistics.median(values)
    return f'{middle:.3g} ({min(values):.3g} to {max(values):.3g})'


def run(folder: Path, args: argparse.Namespace) -> None:
    """Make files and print a table."""
    print('| files | workers | patches/s | whole images | ratio | MiB | whole images |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    images = scene(np.random.default_rng(0), 4, len(MONTHS))
    for (layout, how), compression in itertools.product(LAYOUTS.items(), COMPRESSIONS):
        stored = how | {'compress': compression}
        kind = f'{layout}, {compression}'
        root = folder / kind.replace(', ', '_').replace(' ', '_')
        write_cube(root / 'cubes', images, stored)
        cubes = [reader(root / 'cubes', 7) for reader in (RawReader, WholeCubes)]
        both = [Patches(reader, CUBE, True) for reader in cubes]
        compare(f'DynamicEarthNet, {kind}', *both, args)
        write_place(root / 'places', images, stored)
        places = find_places(root / 'places')
        ours = SpaceNet7Reader(places, cache=root / 'masks')
        naive = WholeSpaceNet7(places)
        both = [Patches(reader, PLACE, False) for reader in (ours, naive)]
        compare(f'SpaceNet 7, images, {kind}', *both, args)
    # Masks do not depend on how images are stored.
    both = [Patches(reader, PLACE, True) for reader in (ours, naive)]
    compare(f'SpaceNet 7, images and masks, {kind}', *both, args)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--folder', type=Path, help='for files; default: a temporary one'
    )
    parser.add_argument('--repeats', type=int, default=5, help='turns of both ways')
    parser.add_argument('--patches', type=int, default=32, help='patches a turn')
    parser.add_argument('--naive-patches', type=int, default=8, help='by whole images')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f'{os.cpu_count()} CPU cores, rasterio {rasterio.__version__}, GDAL', end=' ')
    print(f'{rasterio.__gdal_version__}, load {os.getloadavg()[0]:.1f}\n')
    if args.folder is not None:
        run(args.folder, args)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), args)


if __name__ == '__main__':
    main()
