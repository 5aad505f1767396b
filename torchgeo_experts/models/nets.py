# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Networks: a backbone with one head, or with one expert a domain and a selector."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample

from .backbones import Backbone, Features, OuterBackbone, freeze
from .experts import ExpertBank
from .relations import Relation


class Net(nn.Module, ABC):
    """A backbone and what predicts from its features."""

    #: The backbone.
    backbone: Backbone

    @abstractmethod
    def predict(self, features: Features) -> Tensor:
        """Predict from features.

        Args:
            features: What the backbone gave.

        Returns:
            Logits, shape (B, C, ...).
        """

    def forward(self, image: Tensor, **metadata: Tensor) -> Tensor:
        """Predict.

        Args:
            image: Images, shape (B, C, H, W) or (B, T, C, H, W).
            **metadata: What else the backbone reads of a batch: ``dates`` and ``valid``
                of series.

        Returns:
            Logits, shape (B, C, ...).
        """
        return self.predict(self.backbone.read({'image': image, **metadata}))


class SingleNet(Net):
    """A backbone and one head for all domains."""

    def __init__(self, backbone: Backbone, head: ExpertBank) -> None:
        """Initialize a new SingleNet instance.

        Args:
            backbone: Backbone.
            head: A bank of one.
        """
        super().__init__()
        self.backbone = backbone
        self.head = head

    def predict(self, features: Features) -> Tensor:
        """Predict from features with the one head."""
        head = features.head
        # The same head for all is one convolution of the whole batch.
        first = torch.zeros(1, dtype=torch.long, device=head.device)
        return self.head.each(head, first).squeeze(1)


class MixtureNet(Net):
    """A shared backbone and one expert head a training domain, which are mixed."""

    #: Heads, one a training domain.
    experts: ExpertBank

    @abstractmethod
    def mixture(self, features: Features) -> Tensor:
        """Weigh the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Mixture weights, float32, shape (B, D), or (B, T, D) if experts are chosen
            for each date.
        """

    def predict(self, features: Features) -> Tensor:
        """Predict from features with the mixture of experts."""
        return self.experts.mix(features.head, self.mixture(features))


class ExpertNet(MixtureNet):
    """A shared backbone, one expert head a training domain, and a selector (CoDEX)."""

    def __init__(
        self,
        backbone: Backbone,
        experts: ExpertBank,
        selector: nn.Module,
        temperature: float = 1.0,
    ) -> None:
        """Initialize a new ExpertNet instance.

        Args:
            backbone: Backbone.
            experts: Heads, one a training domain.
            selector: Scores the experts from the backbone's features.
            temperature: Temperature tau of the softmax that turns scores into mixture
                weights. CoDEX, section 3.3: 1.
        """
        super().__init__()
        self.backbone = backbone
        self.experts = experts
        self.selector = selector
        self.temperature = temperature
        self.selecting = False

    def select(self, selecting: bool) -> None:
        """Turn to one of the two stages.

        Args:
            selecting: False to train backbone and experts, True to train the selector
                with backbone and experts frozen.
        """
        self.selecting = selecting
        self.backbone.freeze(selecting)
        # Of a backbone that was frozen, its own mode tells nothing.
        self.train(self.training)
        freeze(self.experts, selecting)
        freeze(self.selector, not selecting)

    def unfreeze(self) -> None:
        """Let every part require a gradient that is not frozen for good."""
        self.select(False)
        freeze(self.selector, False)

    def mixture(self, features: Features) -> Tensor:
        """Weigh the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Mixture weights (CoDEX, equation 4), float32, shape (B, D), or (B, T, D) from
            a selector that chooses for each date.
        """
        return self.weigh(self.selector(features))

    def weigh(self, scores: Tensor) -> Tensor:
        """Turn predicted accuracies into mixture weights.

        Args:
            scores: Predicted accuracies, shape (..., D).

        Returns:
            Mixture weights, float32, shape (..., D).
        """
        return (scores.float() / self.temperature).softmax(dim=-1)


class RelatedNet(MixtureNet):
    """A shared backbone and one expert a training domain, mixed by what is known of them.

    Unlike :class:`ExpertNet` it has no selector: weights come from the domain or the place
    of a sample (per-domain models, D3G).
    """

    def __init__(
        self, backbone: Backbone, experts: ExpertBank, relation: Relation
    ) -> None:
        """Initialize a new RelatedNet instance.

        Args:
            backbone: Backbone.
            experts: Heads, one a training domain.
            relation: Weighs them.
        """
        super().__init__()
        self.backbone = RelatedBackbone(backbone, relation)
        self.experts = experts

    @property
    def relation(self) -> Relation:
        """What weighs the experts."""
        backbone = self.backbone
        assert isinstance(backbone, RelatedBackbone)
        return backbone.relation

    def mixture(self, features: Features) -> Tensor:
        """Tell the weights of the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Mixture weights, float32, shape (B, D).
        """
        assert features.mixture is not None
        return features.mixture


class RelatedBackbone(OuterBackbone):
    """A backbone that also tells the weights of experts."""

    def __init__(self, inner: Backbone, relation: Relation) -> None:
        """Initialize a new RelatedBackbone instance.

        Args:
            inner: Backbone.
            relation: Weighs the experts.
        """
        super().__init__(inner)
        self.relation = relation
        if relation.fixed:
            self.fix(*relation.fixed)

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch, with its images, and what the relation looks at.

        Returns:
            Features.
        """
        return self.inner.read(batch)._replace(mixture=self.relation(batch))
