# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The losses of MoGE: diverse experts, an invariant shared one, and balanced routes."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from ..losses import (
    balance_loss,
    diversity_loss,
    importance_loss,
    invariance_loss,
    route_distillation,
    router_z_loss,
)
from ..losses.cka import CKAEstimator
from ..losses.gather import gather_with_grad
from ..losses.soft_group_dro import SoftGroupDRO
from ..models.moge import CosineGate, MoGEBackbone
from .base import Objective, Outcome, Step


class MoGE(Objective):
    r"""Risk, and the three losses of MoGE.

    :math:`L = L_{task} + \lambda_{aux} L_{aux} + \lambda_{CKA} L_{CKA} +
    \lambda_{SupCon} L_{SupCon}` (poster, part iv). The poster gives no weights. Diversity
    and balance are means over the blocks with experts; invariance is of the last one, of
    the token that the head reads (the class token, or the mean where there is none).
    """

    def __init__(
        self,
        balance_weight: float = 0.01,
        cka_weight: float = 0.1,
        invariance_weight: float = 0.1,
        z_weight: float = 0.0,
        cka_estimator: CKAEstimator = 'biased',
        cka_tokens: int = 2048,
        temperature: float = 0.1,
    ) -> None:
        """Initialize a new MoGE instance.

        Args:
            balance_weight: Weight of the loss that keeps routes balanced (importance and
                load). GMoE has 0.01.
            cka_weight: Weight of the diversity loss. With 0 it is not computed, and
                experts are evaluated on their own images only.
            invariance_weight: Weight of the contrastive loss of the shared expert. Needs
                large batches: it compares images of one class and different experts.
            z_weight: Weight of the router z-loss.
            cka_estimator: 'biased' is the plain form, of the poster; 'unbiased' is
                about 0 for independent experts with any number of tokens.
            cka_tokens: Tokens of a batch, drawn at random, that diversity is measured
                on.
            temperature: Temperature of the contrastive loss.
        """
        super().__init__()
        self.balance_weight, self.cka_weight = balance_weight, cka_weight
        self.invariance_weight, self.z_weight = invariance_weight, z_weight
        self.cka_estimator, self.cka_tokens = cka_estimator, cka_tokens
        self.temperature = temperature

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        backbone: MoGEBackbone = step.net.backbone
        logits = step.net.predict(backbone.read(step.batch))
        terms = {'risk': self.risk(step, logits)}
        weighted = {
            'balance': (self.balance_weight, self.balance),
            'cka': (self.cka_weight, self.diversity),
            'z': (self.z_weight, self.router_z),
        }
        for name, (weight, term) in weighted.items():
            if weight:
                terms[name] = weight * term(backbone)
        if self.invariance_weight:
            invariance = self.invariance(backbone, step.target)
            terms['invariance'] = self.invariance_weight * invariance
        if backbone.router is not None:
            terms['distillation'] = self.distillation(backbone)
        return Outcome(logits, terms)

    def risk(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the risk of the task.

        Args:
            step: What the step has.
            logits: Logits, shape (B, C).

        Returns:
            The mean risk, a scalar.
        """
        return step.risk(logits)

    def balance(self, backbone: MoGEBackbone) -> Tensor:
        """Compute how unequally gates use the experts.

        Args:
            backbone: Backbone, after a batch.

        Returns:
            The mean over blocks, a scalar.
        """
        losses = []
        gates = cast(Iterable[CosineGate], backbone.gates)
        for gate, route in zip(gates, backbone.routes, strict=True):
            known = route.known[:, None]
            # An unknown place has no route to balance: all experts alike. Of all ranks
            # together, as an image has one route only.
            logits, noisy = (
                gather_with_grad(x.where(known, 0.0))
                for x in (route.logits, route.noisy)
            )
            if gate.noise_std:
                losses.append(balance_loss(logits, noisy, gate.noise_std, gate.top_k))
            else:  # loads are smooth by the noise alone
                losses.append(importance_loss(logits))
        return torch.stack(losses).mean()

    def router_z(self, backbone: MoGEBackbone) -> Tensor:
        """Compute how large the gates' logits are.

        Args:
            backbone: Backbone, after a batch.

        Returns:
            The mean over blocks, a scalar.
        """
        return torch.stack([router_z_loss(r.logits) for r in backbone.routes]).mean()

    def diversity(self, backbone: MoGEBackbone) -> Tensor:
        """Compute how alike the experts are, on tokens drawn from the batch.

        Args:
            backbone: Backbone, after a batch.

        Returns:
            The mean over blocks, a scalar.
        """
        losses = []
        for part in backbone.parts:
            tokens = part.passage.tokens.flatten(0, 1)
            count = min(self.cka_tokens, len(tokens))
            drawn = torch.randperm(len(tokens), device=tokens.device)[:count]
            outputs = part.experts.each(tokens[drawn])
            losses.append(diversity_loss(outputs, self.cka_estimator))
        return torch.stack(losses).mean()

    def distillation(self, backbone: MoGEBackbone) -> Tensor:
        """Compute how well the image router imitates the gates.

        It has no weight, as it trains the router only, and nothing else does where all
        places are known.

        Args:
            backbone: Backbone, after a batch.

        Returns:
            The mean over blocks, a scalar.
        """
        losses = [
            route_distillation(part.passage.guess, route.logits, route.known)
            for part, route in zip(backbone.parts, backbone.routes, strict=True)
        ]
        return torch.stack(losses).mean()

    def invariance(self, backbone: MoGEBackbone, target: Tensor) -> Tensor:
        """Compute how well the shared expert tells classes apart across domains.

        Args:
            backbone: Backbone, after a batch.
            target: Labels, shape (B,).

        Returns:
            A scalar.
        """
        part, weights = backbone.parts[-1], backbone.routes[-1].weights
        tokens = part.passage.shared
        prefix = getattr(backbone.body, 'num_prefix_tokens', 1)
        features = tokens[:, 0] if prefix else tokens.mean(dim=1)
        # Images that the shared expert has alone belong to no domain.
        experts = weights.argmax(dim=1).where(weights.sum(dim=1) > 0, -1)
        return invariance_loss(
            gather_with_grad(features),
            gather_with_grad(target),
            gather_with_grad(experts),
            self.temperature,
        )


class RobustMoGE(MoGE):
    """MoGE with a risk that is robust over the domains found (PG-DRO).

    An image belongs to each domain by its route in the last block. The authors'
    repository has it for MapInWild only.
    """

    def __init__(
        self,
        num_experts: int = 6,
        step_size: float = 0.01,
        balance_weight: float = 0.01,
        cka_weight: float = 0.1,
        invariance_weight: float = 0.1,
        z_weight: float = 0.0,
        cka_estimator: CKAEstimator = 'biased',
        cka_tokens: int = 2048,
        temperature: float = 0.1,
    ) -> None:
        """Initialize a new RobustMoGE instance.

        Args:
            num_experts: Number of routed experts of the task.
            step_size: How fast domains with a high risk gain weight.
            balance_weight: As in :class:`MoGE`.
            cka_weight: As in :class:`MoGE`.
            invariance_weight: As in :class:`MoGE`.
            z_weight: As in :class:`MoGE`.
            cka_estimator: As in :class:`MoGE`.
            cka_tokens: As in :class:`MoGE`.
            temperature: As in :class:`MoGE`.
        """
        super().__init__(
            balance_weight,
            cka_weight,
            invariance_weight,
            z_weight,
            cka_estimator,
            cka_tokens,
            temperature,
        )
        self.num_experts, self.step_size = num_experts, step_size
        self.robust = SoftGroupDRO(num_experts, step_size)

    def risk(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the robust risk."""
        risks = step.criterion(logits, step.target)
        judged = step.criterion.judged(step.target)
        weights = step.net.backbone.routes[-1].weights
        # What the shared expert has alone is of all domains alike, and not of none.
        alone = weights.sum(dim=1, keepdim=True) == 0
        members = weights.where(~alone, 1 / self.num_experts) * judged[:, None]
        return self.robust(risks, members)  # type: ignore[no-any-return]
