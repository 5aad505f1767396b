# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Report of the EuroSAT benchmark."""


def report(args):
    pass
