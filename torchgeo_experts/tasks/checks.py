# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Checks of batches, while they are still on the CPU."""

from torchgeo.datasets.utils import Sample


def check_training_domains(batch: Sample, num_domains: int) -> None:
    """Refuse a training batch without domains, or with others than training domains.

    Args:
        batch: A batch on the CPU.
        num_domains: Number of training domains.

    Raises:
        ValueError: If it is so.
    """
    if 'domain' not in batch:
        raise ValueError(
            "the training batch has no 'domain', which this method needs; its keys are"
            f' {sorted(batch)}. Use a datamodule with domains'
        )
    domain = batch['domain']
    wrong = domain[(domain < 0) | (domain >= num_domains)]
    if len(wrong):
        raise ValueError(
            f'{len(wrong)} of {len(domain)} training samples have a domain outside'
            f' 0..{num_domains - 1} (found {sorted(set(wrong.tolist()))}; -1 stands for a'
            ' place that is no training domain): each needs the expert of its domain'
        )
