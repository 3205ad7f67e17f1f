# SPDX-License-Identifier: Apache-2.0
"""Training runs: the loop, what it keeps on disk, and how it is shown."""
