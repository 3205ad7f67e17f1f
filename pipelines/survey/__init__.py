"""What the training split tells: vocabularies and statistics, the same in whatever order blocks are merged."""
