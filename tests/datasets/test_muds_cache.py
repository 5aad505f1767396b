# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import os
import pickle
from pathlib import Path

import pytest
import torch

from datasets.muds_files import PLACES, rgb, write_month, write_spacenet7
from torchgeo_experts.datasets.muds import MUDS


class TestCache:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        write_spacenet7(tmp_path / 'sn7', PLACES[3:])
        return tmp_path

    def test_used(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset = MUDS(root / 'sn7', 'test', cache=root / 'cache')
        first = dataset[0]['mask']
        (file,) = (root / 'cache').iterdir()
        assert file.name.startswith(dataset.places[0])
        monkeypatch.setattr('torchgeo_experts.datasets.muds_spacenet7.draw_mask', None)
        again = MUDS(root / 'sn7', 'test', cache=root / 'cache')
        assert torch.equal(again[0]['mask'], first)
        # In memory, a place is drawn once too.
        with pytest.raises(TypeError):
            MUDS(root / 'sn7', 'test')[0]

    def test_memory(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset = MUDS(root / 'sn7', 'test')
        first = dataset[0]['mask']
        monkeypatch.setattr('torchgeo_experts.datasets.muds_spacenet7.draw_mask', None)
        assert torch.equal(dataset[0]['mask'], first)
        with pytest.raises(TypeError):
            pickle.loads(pickle.dumps(dataset))[0]

    def test_stale(self, root: Path) -> None:
        dataset = MUDS(root / 'sn7', 'test', cache=root / 'cache')
        place = dataset.places[0]
        assert dataset[0]['mask'][0, 8:40, 8:64].all()
        write_month(root / 'sn7', place, '2018_01', rgb(0), [(70, 70, 90, 90)])
        changed = MUDS(root / 'sn7', 'test', cache=root / 'cache')[0]['mask'][0]
        assert changed[70:90, 70:90].all() and changed.sum() == 400
        write_month(root / 'sn7', place, '2018_03', rgb(0), [(1, 1, 2, 2)])
        more = MUDS(root / 'sn7', 'test', cache=root / 'cache')[0]['mask']
        assert more[2].sum() == 1 and torch.equal(more[0], changed)

    @pytest.mark.parametrize('content', [b'', b'\x93NUMPY', None])
    def test_half_written(self, root: Path, content: bytes | None) -> None:
        dataset = MUDS(root / 'sn7', 'test', cache=root / 'cache')
        first = dataset[0]['mask']
        (file,) = (root / 'cache').iterdir()
        size = file.stat().st_size
        if content is None:
            os.truncate(file, size - 1)
        else:
            file.write_bytes(content)
        assert torch.equal(dataset[0]['mask'], first)
        assert [f.stat().st_size for f in (root / 'cache').iterdir()] == [size]

    def test_cannot_write(self, root: Path) -> None:
        (root / 'cache').write_bytes(b'')
        with pytest.raises(OSError, match=r'cannot write .*cache/.*\.npy \('):
            MUDS(root / 'sn7', 'test', cache=root / 'cache')[0]
