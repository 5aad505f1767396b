# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Predictions that know how often classes occur at a site."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..adaptation import adapt_prior
from ..losses import Criterion
from ..models import Features
from ..models.affinity import positive
from ..tasks.base import DomainTask
from ..tasks.ways import Way
from .sites import Looked, Looks, SiteCallback, SiteTable, of_all_ranks

#: End of the names of ways in metrics: ``test_PriorAdaptedOverallAccuracy``.
ADAPTED = 'PriorAdapted'


class PriorAdaptation(SiteCallback):
    """The shares of classes at each site are estimated, and predictions follow them.

    Between places classes may look alike and occur more or less often. From the unlabelled
    images of a site expectation maximization finds their shares, see
    :func:`~torchgeo_experts.adaptation.adapt_prior` (Saerens et al., 2002). For all tasks.
    What it gives should be compared with ERM and prior adaptation, and not with ERM alone:
    that has seen one image of the site at a time. A label is a choice between two classes.
    Shares are those that a loss with weights of classes pretends. The focal loss makes
    probabilities too doubtful, so that shares found after it lean to those of training.
    """

    def __init__(
        self,
        pseudo_count: float = 50.0,
        iterations: int = 40,
        elements: int = 256,
        site: str | None = None,
    ) -> None:
        """Initialize a new PriorAdaptation instance.

        Args:
            pseudo_count: How many images of a site the shares of training count for.
            iterations: Most turns of expectation maximization.
            elements: Most pixels of an image that shares are estimated from, of maps.
                They are the same ones of each image.
            site: Key of samples that tells the site, a whole number. Default: in a test
                the evaluation group, such as country, camera or region; in a prediction
                the scene that a patch of a raster lies in, or else the group. Images that
                have none are one site together.

        Raises:
            ValueError: If a number is not positive.
        """
        super().__init__(site)
        self.pseudo_count = positive('pseudo_count', pseudo_count)
        self.iterations = int(positive('iterations', iterations))
        self.elements = int(positive('elements', elements))

    def adapt(self, task: DomainTask, looks: Looks) -> None:
        """Adapt the model's own predictions, and all other ways to predict.

        Args:
            task: The task.
            looks: All batches.

        Raises:
            ValueError: If it is not known how often classes occur in training, or they
                are adapted already.
        """
        # Of the first process: each has counted its own samples.
        source = task.class_counts.shares(task.criterion.weight).cpu()
        source = task.trainer.strategy.broadcast(source)
        if not source.any():
            raise ValueError(
                'PriorAdaptation compares with how often classes occurred in training,'
                ' which the task does not know: give a checkpoint of its training'
            )
        if any(name.endswith(ADAPTED) for name in task.ways):
            raise ValueError('trainer.callbacks name PriorAdaptation twice')
        ways = {'': OwnWay(task), **task.ways}
        drawn: dict[str, list[Drawn]] = {name: [] for name in ways}
        for look in looks:
            for name, way in ways.items():
                with looks.computing():
                    logits = way.logits(look.batch, look.features)
                drawn[name].append(draw(task.criterion, logits, look, self.elements))
        for name, way in ways.items():
            parts = zip(*drawn[name], strict=True)
            together = Drawn(*of_all_ranks(*(torch.cat(part) for part in parts)))
            table = SiteTable(*self.shifts(together, source))
            adapted = PriorAdapted(way, looks, table)
            task.ways = {**task.ways, f'{name}{ADAPTED}': adapted}

    def shifts(self, drawn: 'Drawn', source: Tensor) -> tuple[Tensor, Tensor]:
        """Find by how much the logits of each site change.

        Args:
            drawn: Elements of all images.
            source: Shares of the classes in training, shape (C,), or (2, L) of labels.

        Returns:
            Numbers of the sites, int64, shape (S,), and what is added to their logits,
            shape (S, C).
        """
        order = drawn.site.argsort(stable=True)
        numbers, count = drawn.site.unique(return_counts=True)
        parts = zip(
            drawn.logits[order].split(count.tolist()),
            drawn.weight[order].split(count.tolist()),
            strict=True,
        )
        rows = [self._shift(logits, weight, source) for logits, weight in parts]
        return numbers, torch.stack(rows)

    def _shift(self, logits: Tensor, weight: Tensor, source: Tensor) -> Tensor:
        """Find by how much the logits of a site change, shape (C,)."""
        if source.ndim == 1:
            return self._log_ratio(logits, weight, source)
        labels = zip(logits.unbind(2), source.unbind(1), strict=True)
        ratios = [self._log_ratio(z, weight, counts) for z, counts in labels]
        return torch.stack([present - absent for absent, present in ratios])

    def _log_ratio(self, logits: Tensor, weight: Tensor, source: Tensor) -> Tensor:
        """Compare the shares of classes that exclude each other with those of training.

        A class that training does not have stays as it is.
        """
        known = source > 0
        found = adapt_prior(
            logits[:, known],
            source[known],
            self.pseudo_count,
            self.iterations,
            weight=weight,
        )
        ratio = torch.zeros(len(source))
        ratio[known] = (found.prior * source.sum() / source[known]).log().float()
        return ratio


class OwnWay(Way):
    """What the model predicts by itself."""

    def __init__(self, task: DomainTask) -> None:
        """Initialize a new OwnWay instance.

        Args:
            task: The task.
        """
        self.task = task

    def logits(self, batch: Sample, features: Features) -> Tensor:
        """Predict."""
        logits: Tensor = self.task.model.predict(features)
        return logits


class PriorAdapted(Way):
    """Another way to predict, with the shares of classes of an image's site."""

    def __init__(self, way: Way, looks: Looks, shifts: SiteTable) -> None:
        """Initialize a new PriorAdapted instance.

        Args:
            way: The other way.
            looks: Tells the site of images.
            shifts: What is added to the logits of each site.
        """
        self.way, self.looks, self.shifts = way, looks, shifts

    def logits(self, batch: Sample, features: Features) -> Tensor:
        """Predict."""
        logits = self.way.logits(batch, features).float()
        shift = self.shifts.of(self.looks.site(batch))
        return logits + shift.view(*shift.shape, *[1] * (logits.ndim - 2))

    def told(self, batch: Sample) -> dict[str, Tensor]:
        """Tell what the other way tells."""
        return self.way.told(batch)


class Drawn(NamedTuple):
    """Some elements of a batch, on the CPU."""

    #: Scores of classes, shape (N, C), or of labels (N, 2, L).
    logits: Tensor
    #: Weight of each, shape (N,); those of an image add up to 1.
    weight: Tensor
    #: Site of each, int64, shape (N,).
    site: Tensor


def draw(criterion: Criterion, logits: Tensor, look: Looked, most: int) -> Drawn:
    """Take some elements of each image.

    Args:
        criterion: Makes scores of classes of the logits.
        logits: Logits, shape (B, C, ...).
        look: The batch.
        most: Most elements of an image.

    Returns:
        The elements: images themselves, pixels of maps, on all dates that have an image.
    """
    size = len(logits)
    dates = torch.ones_like(logits[:, 0], dtype=torch.float)
    valid = look.features.valid
    if valid is not None and dates.ndim == 4:  # a map of each date
        dates = dates * valid[:, :, None, None]
    dates = dates.reshape(size, -1)
    chosen = spread(dates.shape[1], most).to(logits.device)
    weight = dates[:, chosen]
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
    scores = logits.float().flatten(2) if logits.ndim > 2 else logits.float()[..., None]
    scores = criterion.class_logits(scores[..., chosen]).movedim(-1, 1).flatten(0, 1)
    site = look.site.repeat_interleave(len(chosen))
    return Drawn(scores.cpu(), weight.flatten().cpu(), site.cpu())


def spread(count: int, most: int) -> Tensor:
    """Choose elements of a map: always the same ones, anywhere.

    Args:
        count: How many there are.
        most: How many to choose at most.

    Returns:
        Their numbers, int64.
    """
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most]
