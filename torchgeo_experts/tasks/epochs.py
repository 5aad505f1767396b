# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Epochs that can be repeated."""

from typing import Any

import torch
from lightning.pytorch import LightningModule

#: Key of this package's entries in a checkpoint.
CHECKPOINT_KEY = 'torchgeo_experts'


class RepeatableEpochs(LightningModule):
    """Mix-in that makes each training epoch depend on the seed and its number only.

    Lightning's checkpoints do not hold the state of random generators. So a resumed run
    would shuffle, augment and drop out differently from one that was never stopped. Here,
    torch's generator is seeded at the start of each epoch from the run's seed, the number
    of the epoch and the rank: a run that resumes after an epoch ends with the same
    weights, and two methods with the same seed see the same batches.
    """

    _run_seed: int | None = None

    def on_train_start(self) -> None:
        """Keep the seed of a run that was not resumed."""
        super().on_train_start()
        if self._run_seed is None:
            self._run_seed = torch.initial_seed() % 2**31

    def on_train_epoch_start(self) -> None:
        """Seed torch's generators for this epoch."""
        super().on_train_epoch_start()
        assert self._run_seed is not None
        epochs_of_ranks = self.current_epoch * self.trainer.world_size
        torch.manual_seed(
            self._run_seed * 1_000_003 + epochs_of_ranks + self.global_rank
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the run's seed.

        Args:
            checkpoint: Checkpoint to add to.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint.setdefault(CHECKPOINT_KEY, {})['seed'] = self._run_seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the run's seed.

        Args:
            checkpoint: Checkpoint to read.
        """
        super().on_load_checkpoint(checkpoint)
        self._run_seed = checkpoint.get(CHECKPOINT_KEY, {}).get('seed')
