# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small data that several tests train on."""

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchgeo.datasets import NonGeoDataset

from torchgeo_experts.datamodules.base import PlacesDataModule
from torchgeo_experts.domains import Domains

torch.set_num_threads(1)  # small batches: threads would only wait for each other
# The many objects that imports leave need not be looked through again and again.
gc.freeze()
gc.set_threshold(50_000, 20, 100)


class ToyDataset(NonGeoDataset):
    """Noise whose brightness is the class, from three training and two other places."""

    def __init__(self, split: str, size: int = 50, places: int = 3) -> None:
        seed = {'train': 0, 'val': 1, 'test': 2, 'predict': 2}[split]
        generator = torch.Generator().manual_seed(seed)
        self.classes = ['dark', 'medium', 'bright']
        self.label = torch.randint(0, 3, (size,), generator=generator)
        noise = torch.randn(size, 3, 32, 32, generator=generator)
        self.image = 90 + 40 * noise + 30 * self.label[:, None, None, None]
        order = torch.arange(size)
        training = split == 'train'
        self.domain = order % places if training else torch.full((size,), -1)
        self.group = order % places if training else places + order % 2

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        keys = ('image', 'label', 'domain', 'group')
        sample = {key: getattr(self, key)[index] for key in keys}
        return sample | {'lon': torch.tensor(5.0), 'lat': torch.tensor(50.0)}


class ToyDataModule(PlacesDataModule):
    """The toy data set with its places."""

    def __init__(
        self, batch_size: int = 10, domains_per_batch: int | None = None, **kwargs: int
    ) -> None:
        super().__init__(
            ToyDataset,
            batch_size,
            domains_per_batch=domains_per_batch,
            mean=100.0,
            std=50.0,
            **kwargs,
        )

    def configure_domains(self) -> None:
        count = self.kwargs.get('places', 3)
        names = [f'place {i}' for i in range(count)]
        self.domains = Domains(
            names, torch.linspace(0, 60, count), torch.linspace(10, 50, count)
        )
        self.groups = (*names, 'far', 'near')
        self.classes = ('dark', 'medium', 'bright')

    def make_dataset(self, split: str) -> ToyDataset:
        return ToyDataset(split, **self.kwargs)


@pytest.fixture
def toy() -> ToyDataModule:
    return ToyDataModule()


@pytest.fixture(autouse=True)
def one_folder_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write logs and checkpoints where pytest cleans up."""
    monkeypatch.chdir(tmp_path)
