# SPDX-License-Identifier: Apache-2.0
"""The steps of the Beam graph: looking over ranges, encoding them, shuffling their records."""
