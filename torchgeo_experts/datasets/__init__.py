# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.
