# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How near the domains of validation and test are to those of training."""

from .report import LeakageReport, leakage_report
from .text import report_text, warnings_of, write_report

__all__ = (
    'LeakageReport',
    'leakage_report',
    'report_text',
    'warnings_of',
    'write_report',
)
