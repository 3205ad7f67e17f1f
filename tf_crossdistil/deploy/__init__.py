# SPDX-License-Identifier: Apache-2.0
"""Files to train on a cluster with; docs/cluster.md explains them."""
