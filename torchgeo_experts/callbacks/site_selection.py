# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One choice of experts for all images of a site."""

import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..metrics import GroupMeans
from ..models import ExpertNet, Features
from ..models.affinity import positive
from ..models.pooling import mean_over_time
from ..tasks.base import DomainTask
from ..tasks.ways import Way
from .sites import Looks, SiteCallback, SiteTable

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
            site: Key of samples that tells the site, a whole number. Default: the
                evaluation group, such as country, camera or region. Images that have
                none, such as the patches of a scene, are one site together.
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
                'SiteSelection must come first: name it before PriorAdaptation in'
                ' trainer.callbacks'
            )
        sites, scores = [], []
        for batch, features, site in looks:
            found = net.selector(features)
            if found.ndim == 3:  # a choice for each date
                found = mean_over_time(found, features.valid)
            sites.append(site)
            scores.append(found.float())
        numbers, index = torch.cat(sites).unique(return_inverse=True)
        means = GroupMeans(len(numbers), scores[0].shape[1]).to(index.device)
        means.update(torch.cat(scores), index)
        weights = (means.compute() / self.temperature).softmax(dim=1)
        way = SiteSelected(net, looks, SiteTable(numbers, weights))
        task.ways = {SELECTED: way}


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
