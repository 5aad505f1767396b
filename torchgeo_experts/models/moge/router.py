# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Routes from the image alone, for images of unknown place."""

from torch import Tensor, nn


class ImageRouter(nn.Module):
    """Tells from an image which experts the gates would choose at its place.

    It reads the tokens of the first block with experts, which no route has touched, and
    answers for all blocks at once. The authors name routing distillation as future work
    (poster, "Conclusion and future work"); its form is ours.
    """

    def __init__(
        self, in_features: int, num_blocks: int, num_experts: int, width: int = 256
    ) -> None:
        """Initialize a new ImageRouter instance.

        Args:
            in_features: Number of features D of a token.
            num_blocks: Number of blocks with experts, K.
            num_experts: Number of experts E of a block.
            width: Number of hidden features.
        """
        super().__init__()
        self.shape = (num_blocks, num_experts)
        self.net = nn.Sequential(
            nn.LayerNorm(in_features),
            nn.Linear(in_features, width),
            nn.GELU(),
            nn.Linear(width, num_blocks * num_experts),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Guess what gates would say.

        Args:
            tokens: Tokens, shape (B, N, D).

        Returns:
            Logits of the experts, shape (B, K, E).
        """
        logits: Tensor = self.net(tokens.mean(dim=1))
        return logits.unflatten(1, self.shape)
