# SPDX-License-Identifier: Apache-2.0
"""What the training split tells: vocabularies and statistics, the same in whatever order blocks are merged."""
