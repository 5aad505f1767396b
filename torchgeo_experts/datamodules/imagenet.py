# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Statistics of ImageNet, which pretrained networks and WILDS use."""

#: Mean and standard deviation of red, green and blue, for values from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
