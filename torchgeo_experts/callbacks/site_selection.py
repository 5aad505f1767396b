# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One choice of experts for all images of a site."""

import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..models import ExpertNet, Features
from ..models.affinity import positive
from ..models.pooling import mean_over_time
from ..tasks.base import DomainTask
from ..tasks.ways import Way
from .sites import Looks, SiteCallback, SiteTable, of_all_ranks

#: Name of the way in metrics: ``test_SiteSelectedOverallAccuracy``.
SELECTED = 'SiteSelected'


class SiteSelection(SiteCallback):
    r"""All images of a site share one mixture of experts.

    CoDEX chooses experts for each image by itself. Where many images of a place are at
    hand, without labels, their scores are averaged first:

    .. math:: w_S \propto \exp\Big(\frac{1}{|S|\,T} \sum_{x \in S} \phi_{select}(x)\Big)

    This is not in the paper. For CoDEX only, which has a selector.
    """

    def __init__(self, temperature: float = 0.1, site: str | None = None) -> None:
        """Initialize a new SiteSelection instance.

        Args:
            temperature: Temperature T of the softmax, in place of that of the task.
            site: Key of samples that tells the site, a whole number. Default: in a test
                the evaluation group, such as country, camera or region; in a prediction
                the scene that a patch of a raster lies in, or else the group. Images that
                have none are one site together.
        """
        super().__init__(site)
        self.temperature = positive('temperature', temperature)

    def adapt(self, task: DomainTask, looks: Looks) -> None:
        """Average the selector's scores over sites.

        Args:
            task: The task.
            looks: All batches.

        Raises:
            TypeError: If the task has no selector.
            ValueError: If its priors are adapted already.
        """
        net = task.model
        if not isinstance(net, ExpertNet):
            raise TypeError(
                'SiteSelection needs a selector, which only CoDEX tasks have, found'
                f' {type(task).__name__}: PriorAdaptation is for all tasks'
            )
        if task.ways:
            raise ValueError(
                'SiteSelection must come first, and once: name it before PriorAdaptation'
                ' in trainer.callbacks'
            )
        numbers, scores = self._mean_scores(net, looks)
        weights = (scores / self.temperature).softmax(dim=1).float()
        task.ways = {SELECTED: SiteSelected(net, looks, SiteTable(numbers, weights))}

    def _mean_scores(self, net: ExpertNet, looks: Looks) -> tuple[Tensor, Tensor]:
        """Average the scores of each site, in double precision."""
        sites, scores = [], []
        for _, features, site in looks:
            with looks.computing():
                found = net.selector(features)
            if found.ndim == 3:  # a choice for each date
                found = mean_over_time(found, features.valid)
            sites.append(site.cpu())
            scores.append(found.double().cpu())
        site, score = of_all_ranks(torch.cat(sites), torch.cat(scores))
        numbers, row, count = site.unique(return_inverse=True, return_counts=True)
        total = torch.zeros(len(numbers), score.shape[1], dtype=torch.double)
        return numbers, total.index_add_(0, row, score) / count[:, None]


class SiteSelected(Way):
    """The mixture of an image's site."""

    def __init__(self, net: ExpertNet, looks: Looks, weights: SiteTable) -> None:
        """Initialize a new SiteSelected instance.

        Args:
            net: Experts.
            looks: Tells the site of images.
            weights: Mixture weights of each site.
        """
        self.net, self.looks, self.weights = net, looks, weights

    def logits(self, batch: Sample, features: Features) -> Tensor:
        """Predict."""
        return self.net.experts.mix(features.head, self.told(batch)['weights'])

    def told(self, batch: Sample) -> dict[str, Tensor]:
        """Tell the weights of the site, shape (B, D)."""
        return {'weights': self.weights.of(self.looks.site(batch))}
