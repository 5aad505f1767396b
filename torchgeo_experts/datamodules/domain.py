# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains for any TorchGeo datamodule."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets.utils import Sample

from ..datasets.splits import share_out
from .base import TargetSplit
from .described import (
    Described,
    describe_patches,
    describe_samples,
    find_classes,
    train_domains,
)
from .patches import DomainPatchSampler
from .placed import Placed, PlacedDataset, PlacedGeoDataset, named, origins
from .rules import DomainRule, PlaceRule, Places
from .wrapped import WrappedDataModule


class DomainDataModule(WrappedDataModule):
    """Gives the samples of any TorchGeo datamodule domains and places.

    The datamodule stays as it is: data sets, splits, augmentations, samplers and plots
    are its own. Its samples also get ``domain``, ``group``, ``lon`` and ``lat``.

    Training domains are those of the training samples. Of a
    :class:`~torchgeo.datamodules.GeoDataModule` these are patches, and the domain of a
    patch is that of its centre. The patches of a grid are all looked at; where patches
    are drawn at random, places a patch apart are, all over the region in which centres
    may fall. Training samples in no training domain are left out, in validation and test
    all samples are kept.

    Prediction uses the predict data set, or the test data set if there is none.
    """

    def __init__(
        self,
        datamodule: BaseDataModule,
        domains: DomainRule,
        places: Places | None = None,
        val_domains: Sequence[str | int] | int | None = None,
        test_domains: Sequence[str | int] | int | None = None,
        split_seed: int = 0,
        min_samples: int = 1,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Initialize a new DomainDataModule instance.

        Args:
            datamodule: Datamodule to give domains to.
            domains: What names the domain of a sample.
            places: What tells where samples are. Default: the table of *domains*, or
                what the data set has under the names lon and lat, or longitude and
                latitude. A GeoDataModule needs none.
            val_domains: If given, the splits of *datamodule* are put together, and whole
                domains held out: names of the validation domains, or how many to draw.
                Not for a GeoDataModule.
            test_domains: Names of the test domains, or how many to draw. Given together
                with *val_domains*.
            split_seed: Seed of the draw of domains.
            min_samples: Fewest training samples of a domain (of a GeoDataModule: patches
                side by side). Domains with fewer are left out of training, and are not
                drawn, with a warning.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling. Not for a
                GeoDataModule.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            classes: Class names, in the order of the labels. Default: those that the
                data set tells, if any.

        Raises:
            TypeError: If *domains* cannot name those of a GeoDataModule.
            ValueError: If arguments do not go together.
        """
        super().__init__(datamodule, domains_per_batch)
        self.target_split = target_split
        self.rule, self.places = domains, places
        self.val_domains, self.test_domains = val_domains, test_domains
        self.split_seed, self.min_samples = split_seed, min_samples
        self.class_names = classes
        self._check_arguments()
        #: The splits of the datamodule put together, if whole domains are held out.
        self._pool: Any = None
        #: Domains held out for each split.
        self._held_out: dict[str, tuple[str, ...]] = {}
        #: The data set (or sampler) last described for a split, and what was found.
        self._described: dict[str, tuple[Any, Described]] = {}

    def _check_arguments(self) -> None:
        """Refuse arguments that do not go together."""
        if (self.val_domains is None) != (self.test_domains is None):
            raise ValueError(
                'give both val_domains and test_domains, or neither; found'
                f' {self.val_domains!r} and {self.test_domains!r}'
            )
        if not self.geo:
            return
        kind = type(self.datamodule).__name__
        if not isinstance(self.rule, PlaceRule):
            raise TypeError(
                f'{type(self.rule).__name__} names the domain of each sample, but {kind}'
                ' draws patches anywhere: use GridDomains, PolygonDomains or ClusterDomains'
            )
        for name in ('places', 'val_domains', 'domains_per_batch', 'target_split'):
            if getattr(self, name) is not None:
                raise ValueError(
                    f'{name} is for data sets of images, but {kind} draws patches from'
                    ' rasters, which know their place. To hold out places, split its data'
                    ' set by regions of interest (torchgeo.datasets.roi_split)'
                )

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]
        """Number of classes, None if the data set does not name them."""
        return len(self.classes) or None

    def setup(self, stage: str) -> None:
        """Set up datasets.

        The training data set is needed in every stage: it tells the training domains.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.
        """
        if self.val_domains is None:
            needed = [stage] if self.own_datasets else ['fit', stage]
            if stage == 'fit' and self.target_split == 'test':
                needed.append('test')
        else:
            needed = [] if self.own_datasets else ['fit', 'test']
        for each in dict.fromkeys(needed):
            self.setup_datamodule(each)
        super().setup(stage)

    def configure_domains(self) -> None:
        """Find out the training domains, once."""
        if hasattr(self, 'domains'):
            return
        train = self._describe('train')
        if self.val_domains is not None and self.test_domains is not None:
            counts = train.counts()
            self._held_out = share_out(
                sorted(counts),
                {'test': self.test_domains, 'val': self.val_domains},
                self.split_seed,
                [name for name, count in counts.items() if count < self.min_samples],
                keep=1,
            )
        held_out = {name for names in self._held_out.values() for name in names}
        what = 'places of training patches' if self.geo else 'training samples'
        what = f'{what} of {type(self.datamodule).__name__}'
        self.domains = train_domains(train, held_out, self.min_samples, what)
        self.groups = self.domains.names
        classes = self.class_names or find_classes(self.own_dataset('train'))
        self.classes = tuple(str(name) for name in classes)

    def make_dataset(self, split: str) -> Placed:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.
        """
        dataset, described = self._samples(split), self._describe(split)
        names, domain = described.names, self.domains.ids(described.names)
        rows = domain >= 0
        if split != 'train':
            held_out = self._held_out.get('test' if split == 'predict' else split)
            inside = [held_out is None or name in held_out for name in names]
            rows = torch.tensor(inside, dtype=torch.bool)
        rows = rows.nonzero().flatten()
        group = self._group([named(names[row]) for row in rows.tolist()])
        if self.geo:
            rule = cast(PlaceRule, self.rule)
            return PlacedGeoDataset(
                dataset, rule, self.domains, self.groups, domain[rows], group
            )
        lon, lat = described.lon[rows], described.lat[rows]
        return PlacedDataset(dataset, rows, domain[rows], group, lon, lat)

    def _samples(self, split: str) -> Any:
        """Find the data set that holds the samples of a split."""
        if self.val_domains is None:
            return self.own_dataset(split)
        if self._pool is None:
            own = [self.own_datasets[split] for split in ('train', 'val', 'test')]
            together: Any = ConcatDataset([d for d in own if d is not None])
            # Once each: some datamodules validate on samples that they train on.
            first: dict[tuple[int, int], int] = {}
            for index, (owner, row) in enumerate(origins(together)):
                first.setdefault((id(owner), row), index)
            self._pool = Subset(together, list(first.values()))
        return self._pool

    def _describe(self, split: str) -> Described:
        """Find out domains and places of a split, once."""
        dataset = self._samples(split)
        # Rasters of several splits may be the same, but for the sampler's region.
        source: Any = self.own_sampler(split) if self.geo else dataset
        for known, described in self._described.values():
            if known is source:
                return described
        fit = not hasattr(self, 'domains')
        if self.geo:
            rule = cast(PlaceRule, self.rule)
            described = describe_patches(dataset, source, rule, fit)
        else:
            described = describe_samples(dataset, self.rule, self.places, fit)
        self._described[split] = (source, described)
        return described

    def _group(self, names: Sequence[str]) -> Tensor:
        """Tell the evaluation groups of names; new ones follow those known."""
        self.groups += tuple(sorted(set(names) - set(self.groups)))
        numbers = {name: number for number, name in enumerate(self.groups)}
        return torch.tensor([numbers[name] for name in names]).long()

    def _dataloader_factory(self, split: str) -> DataLoader[Sample]:
        if not self.geo:
            return super()._dataloader_factory(split)
        dataset = cast(PlacedGeoDataset, self._valid_attribute(f'{split}_dataset'))
        stand_ins: dict[str, Any] = {f'{split}_dataset': dataset}
        if split == 'train':
            stand_ins['train_sampler'] = DomainPatchSampler(
                self.own_sampler('train'), dataset.patch_domains, self.seed
            )
        # The datamodule makes the loader, and keeps what it had.
        datamodule: Any = self.datamodule
        own = {name: getattr(datamodule, name) for name in stand_ins}
        vars(datamodule).update(stand_ins)
        loader = datamodule._dataloader_factory(split)
        vars(datamodule).update(own)
        return loader
