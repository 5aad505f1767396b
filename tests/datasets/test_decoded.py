# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchgeo_experts.datasets.decoded import DecodedImages
from torchgeo_experts.datasets.place_series import Window

SIDE = 16
RNG = np.random.default_rng(0)
#: Three images of four channels, each of one value in 8 x 8 pixels, which JPEG keeps.
GREY = RNG.integers(0, 256, (3, 2, 2, 2), dtype=np.uint8)
GREY = GREY.repeat(8, axis=2).repeat(8, axis=3)
PIXELS = GREY[:, [0, 0, 0, 1]]


@pytest.fixture
def files(tmp_path: Path) -> list[list[str]]:
    """Write a file of three channels and one of the fourth for each image."""
    found = []
    for index, (grey, infra) in enumerate(GREY):
        paths = [tmp_path / f'{index}_rgb.jpg', tmp_path / f'{index}_infra.jpg']
        Image.fromarray(np.stack([grey] * 3, axis=-1)).save(paths[0], quality=100)
        Image.fromarray(infra).save(paths[1], quality=100)
        found.append([str(path) for path in paths])
    return found


def make(cache: Path | None = None) -> DecodedImages:
    return DecodedImages(['RGB', 'L'], cache, side=SIDE)


@pytest.mark.parametrize('cached', [False, True])
def test_windows(tmp_path: Path, files: list[list[str]], cached: bool) -> None:
    images = make(tmp_path / 'a' / 'b' if cached else None)
    for row, column in ((0, 0), (8, 4), (12, 12)):
        found = images.read('paris', files, Window(row, column, 4))
        assert found.dtype == np.uint8
        expected = PIXELS[:, :, row : row + 4, column : column + 4]
        np.testing.assert_array_equal(found, expected)
        # A window of its own: nothing keeps the whole image or its file.
        assert found.base is None and found.flags.writeable
    some = images.read('lyon', files[:1], Window(0, 0, 16))
    np.testing.assert_array_equal(some, PIXELS[:1])
    assert images.read('nice', [], Window(0, 0, 4)).shape == (0, 4, 4, 4)


def test_cache_is_written_once(
    tmp_path: Path, files: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / 'cache'
    make(cache).read('paris', files, Window(0, 0, 4))
    (path,) = cache.iterdir()
    assert path.name.startswith('paris-') and path.suffix == '.npy'
    np.testing.assert_array_equal(np.load(path), PIXELS)
    monkeypatch.delattr(Image, 'open')
    found = make(cache).read('paris', files, Window(4, 8, 8))
    np.testing.assert_array_equal(found, PIXELS[:, :, 4:12, 8:])


def test_last_place_is_kept(files: list[list[str]]) -> None:
    images = make()
    images.read('paris', files, Window(0, 0, 4))
    for path in files[0]:
        os.remove(path)
    found = images.read('paris', files, Window(4, 8, 8))
    np.testing.assert_array_equal(found, PIXELS[:, :, 4:12, 8:])
    images.read('lyon', files[1:], Window(0, 0, 4))
    with pytest.raises(OSError, match=r'cannot read .*0_rgb\.jpg: it is missing'):
        images.read('paris', files, Window(0, 0, 4))


def test_pickle(files: list[list[str]]) -> None:
    images = make()
    images.read('paris', files, Window(0, 0, 4))
    data = pickle.dumps(images)
    assert len(data) < PIXELS.size
    found = pickle.loads(data).read('paris', files, Window(0, 0, 16))
    np.testing.assert_array_equal(found, PIXELS)


def test_several_workers_write(tmp_path: Path, files: list[list[str]]) -> None:
    def read_many(images: DecodedImages) -> bool:
        found = [
            images.read(f'place{number}', files, Window(0, 0, 16))
            for number in range(20)
        ]
        return all((pixels == PIXELS).all() for pixels in found)

    with ThreadPoolExecutor(4) as workers:
        several = [make(tmp_path / 'cache') for _ in range(4)]
        assert all(workers.map(read_many, several))
    names = sorted(f'place{number}' for number in range(20))
    written = sorted(path.stem.split('-')[0] for path in (tmp_path / 'cache').iterdir())
    assert written == names


def test_damaged_image(tmp_path: Path, files: list[list[str]]) -> None:
    path = Path(files[1][0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OSError, match=rf'cannot read {re.escape(str(path))}'):
        make(tmp_path / 'cache').read('paris', files, Window(0, 0, 4))
    assert not (tmp_path / 'cache').exists()
    path.write_bytes(b'')
    with pytest.raises(OSError, match=rf'cannot read {re.escape(str(path))}'):
        make().read('paris', files, Window(0, 0, 4))


@pytest.mark.parametrize(('shape', 'found'), [((16, 8), 'L'), ((16, 16, 3), 'RGB')])
def test_wrong_image(
    files: list[list[str]], shape: tuple[int, ...], found: str
) -> None:
    Image.fromarray(np.zeros(shape, np.uint8)).save(files[2][1])
    message = (
        rf'2_infra\.jpg is an image of mode {found} with 16 rows and {shape[1]} columns,'
        ' expected mode L with 16 rows and columns'
    )
    with pytest.raises(ValueError, match=message):
        make().read('paris', files, Window(0, 0, 4))


def test_cache_of_other_images(tmp_path: Path, files: list[list[str]]) -> None:
    """What was decoded of other images is not used, whatever their names."""
    cache = tmp_path / 'cache'
    make(cache).read('paris', files[:2], Window(0, 0, 4))
    found = make(cache).read('paris', files, Window(0, 0, 16))
    np.testing.assert_array_equal(found, PIXELS)
    Path(files[0][1]).write_bytes(Path(files[1][1]).read_bytes())
    found = make(cache).read('paris', files, Window(0, 0, 16))
    np.testing.assert_array_equal(found[0, 3], PIXELS[1, 3])
    rgb = DecodedImages(['RGB'], cache, side=SIDE)
    found = rgb.read('paris', [paths[:1] for paths in files], Window(0, 0, 16))
    np.testing.assert_array_equal(found, PIXELS[:, :3])


def test_damaged_cache(tmp_path: Path, files: list[list[str]]) -> None:
    cache = tmp_path / 'cache'
    make(cache).read('paris', files, Window(0, 0, 4))
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:6], b''):
        path.write_bytes(content)
        found = make(cache).read('paris', files, Window(0, 0, 16))
        np.testing.assert_array_equal(found, PIXELS)
        assert path.read_bytes() == whole
    for wrong in (PIXELS[:1], PIXELS.astype(np.int16)):
        np.save(path, wrong)
        make(cache).read('paris', files, Window(0, 0, 4))
        assert path.read_bytes() == whole


def test_no_room(
    tmp_path: Path, files: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'save', fail)
    with pytest.raises(OSError, match=r'cannot write .*paris-\w+\.npy .*No space left'):
        make(tmp_path / 'cache').read('paris', files, Window(0, 0, 4))
    assert os.listdir(tmp_path / 'cache') == []
