# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training steps that can be repeated."""

import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torchgeo.datasets.utils import Sample

# Lightning points out that batches pass through the task, which is meant here.
warnings.filterwarnings('ignore', 'You have overridden `on_before_batch_transfer`')

#: Key of this package's entries in a checkpoint.
CHECKPOINT_KEY = 'torchgeo_experts'


class RepeatableSteps(LightningModule):
    """Mix-in that makes the randomness of a training step a function of its number.

    Lightning's checkpoints do not hold the state of random generators, so that a resumed
    run augments and drops out differently from one that was never stopped. Here torch's
    generator is seeded at each step, before batches are augmented, from the run's seed,
    the number of the step and the rank. With a sampler that depends on the epoch alone,
    such as those of this package's datamodules, a run that is resumed after an epoch
    ends with the same weights, and two methods with the same seed see the same batches.
    """

    _run_seed: int | None = None

    def on_train_start(self) -> None:
        """Keep the seed of a run that was not resumed."""
        super().on_train_start()
        if self._run_seed is None:
            self._run_seed = torch.initial_seed() % 2**31

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Seed torch's generators for this step.

        Args:
            batch: A batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The batch.
        """
        if self.trainer.training and self._run_seed is not None:
            steps_of_ranks = self.trainer.fit_loop.total_batch_idx + 1
            steps_of_ranks *= self.trainer.world_size
            torch.manual_seed(
                self._run_seed * 1_000_003 + steps_of_ranks + self.global_rank
            )
        return batch

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
