"""Files to train on a cluster with; docs/cluster.md explains them."""
