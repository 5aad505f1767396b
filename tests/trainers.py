# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A trainer that does what a test asks for, and no more."""

import warnings
from typing import Any

from lightning.pytorch import Trainer


def trainer(epochs: int = 1, **kwargs: Any) -> Trainer:
    """Make a trainer on the CPU that neither talks nor writes checkpoints."""
    quiet = {
        'enable_progress_bar': False,
        'enable_model_summary': False,
        'enable_checkpointing': False,
        'num_sanity_val_steps': 0,
    }
    warnings.filterwarnings('ignore', module=r'lightning|torch\.')
    return Trainer(accelerator='cpu', max_epochs=epochs, **quiet | kwargs)
