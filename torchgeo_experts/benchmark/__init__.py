# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Many methods, folds and seeds from one file, and a table that compares them."""
