"""Training runs: the loop, what it keeps on disk, and how it is shown."""
