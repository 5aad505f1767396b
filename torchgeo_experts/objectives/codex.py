# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""CoDEX: experts with consistency, then their selection."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..losses import Criterion
from ..models import Affinity, ExpertBank
from .base import Objective, Outcome, Step


class ExpertTraining(Objective):
    r"""Stage 1 of CoDEX: experts that are right and serve similar domains (section 3.1).

    :math:`\lambda_{dom} \mathcal L_{domain} + \lambda_{con} \mathcal L_{con}`, equations 1
    and 2: each sample's own expert, and the mixture of all others by affinity to its
    domain. As in the published code, logits are mixed, and no gradient is stopped.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(
        self,
        affinity: Affinity,
        domain_weight: float = 1.0,
        consistency_weight: float = 1.0,
    ) -> None:
        """Initialize a new ExpertTraining instance.

        Args:
            affinity: Affinity between domains.
            domain_weight: Weight of the domain loss. CoDEX, section 3.3: 1.
            consistency_weight: Weight of the consistency loss. CoDEX, section 3.3: 1. With
                0 it is not computed, and experts only learn their own domain.

        Raises:
            ValueError: If both weights are 0.
        """
        super().__init__()
        if not (domain_weight or consistency_weight):
            raise ValueError(
                'domain_weight and consistency_weight are both 0: the experts would'
                ' learn nothing'
            )
        self.affinity = affinity
        self.domain_weight = domain_weight
        self.consistency_weight = consistency_weight

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch).head
        experts: ExpertBank = step.net.experts
        # A single expert has no other one to agree with.
        if self.consistency_weight and experts.num_domains > 1:
            affinity = self.affinity(step.domain)
            logits, others = experts.forward_and_mix(features, step.domain, affinity)
            risk = step.risk(others)
            terms = {'consistency': self.consistency_weight * risk}
        else:
            logits, terms = experts(features, step.domain), {}
        domain = self.domain_weight * step.risk(logits)
        return Outcome(logits, {'domain': domain} | terms)


class SelectorTraining(Objective):
    r"""Stage 2 of CoDEX: which experts are right on this image (section 3.2).

    :math:`\lambda_{acc} \mathcal L_{acc} + \lambda_{mix} \mathcal L_{mix}`, equations 3
    and 4. The network's backbone and experts are frozen.
    """

    def __init__(
        self,
        accuracy_weight: float = 1.0,
        mixture_weight: float = 1.0,
        accuracy_reduction: Literal['sum', 'mean'] = 'sum',
        accuracy_experts: int | None = None,
    ) -> None:
        """Initialize a new SelectorTraining instance.

        Args:
            accuracy_weight: Weight of the accuracy prediction loss. CoDEX: 1.
            mixture_weight: Weight of the mixture supervision loss. CoDEX: 1; the
                published code has 0.9.
            accuracy_reduction: Over experts, the accuracy loss is a 'sum' (equation 3)
                or a 'mean' (the published code).
            accuracy_experts: How many experts, drawn anew each step, the accuracy loss
                looks at; its expectation stays the same. For thousands of domains, as
                each of these has to predict. Default: all.

        Raises:
            ValueError: If both weights are 0, or no expert is looked at.
        """
        super().__init__()
        if not (accuracy_weight or mixture_weight):
            raise ValueError(
                'accuracy_weight and mixture_weight are both 0: the selector would learn'
                ' nothing'
            )
        if accuracy_experts is not None and accuracy_experts < 1:
            raise ValueError(
                f'accuracy_experts must be at least 1, found {accuracy_experts}'
            )
        self.accuracy_weight = accuracy_weight
        self.mixture_weight = mixture_weight
        self.accuracy_reduction = accuracy_reduction
        self.accuracy_experts = accuracy_experts

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        experts: ExpertBank = step.net.experts
        scores = step.net.selector(features).float()
        logits = experts.mix(features.head, step.net.weigh(scores))
        terms = {}
        if self.accuracy_weight:
            error = self._accuracy_error(scores, features.head, step)
            terms['accuracy'] = self.accuracy_weight * error
        if self.mixture_weight:
            terms['mixture'] = self.mixture_weight * step.risk(logits)
        return Outcome(logits, terms)

    def _accuracy_error(self, scores: Tensor, head: Tensor, step: Step) -> Tensor:
        """Compare predicted accuracies (B, D), or (B, T, D), with the true ones."""
        experts: ExpertBank = step.net.experts
        target = step.target
        if scores.ndim == 3:
            # Each date is judged like an image. Labels stand before dates.
            target = target.movedim(-3, 1)
            scores, head, target = (x.flatten(0, 1) for x in (scores, head, target))
        drawn = self._draw(experts.num_domains, scores.device)
        truth = expert_accuracies(experts, head, target, step.criterion, drawn)
        error = (scores[:, drawn] - truth).abs().mean(dim=1)
        mean = step.criterion.mean(error, target)
        return mean * (experts.num_domains if self.accuracy_reduction == 'sum' else 1)

    def _draw(self, num_domains: int, device: torch.device) -> Tensor:
        """Draw the experts that are looked at."""
        if self.accuracy_experts is None or self.accuracy_experts >= num_domains:
            return torch.arange(num_domains, device=device)
        return torch.randperm(num_domains, device=device)[: self.accuracy_experts]


@torch.no_grad()
def expert_accuracies(
    experts: ExpertBank,
    features: Tensor,
    target: Tensor,
    criterion: Criterion,
    which: Tensor | None = None,
) -> Tensor:
    """Measure each expert on each sample, in bounded memory.

    Args:
        experts: Heads, one a domain.
        features: What heads read, shape (B, F, ...) or (B, T, F, H, W).
        target: Targets, shape (B, ...).
        criterion: Measures accuracy.
        which: Which experts, int64, shape (E,). Default: all.

    Returns:
        Accuracies in [0, 1], shape (B, E).
    """
    chunks = experts.chunks(features, which)
    return torch.cat([criterion.accuracies(z, target) for _, z in chunks], dim=1)
