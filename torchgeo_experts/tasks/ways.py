# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Ways to predict that know more of a place than one image."""

from abc import ABC, abstractmethod

from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..models import Features


class Way(ABC):
    """A way to predict, beside that of the model."""

    @abstractmethod
    def logits(self, batch: Sample, features: Features) -> Tensor:
        """Predict.

        Args:
            batch: A batch of test or prediction.
            features: What the backbone gave.

        Returns:
            Logits, shape (B, C, ...).
        """

    def told(self, batch: Sample) -> dict[str, Tensor]:
        """Tell what else belongs to a prediction.

        Args:
            batch: A batch of prediction.

        Returns:
            Entries that take the place of those of the model.
        """
        return {}
