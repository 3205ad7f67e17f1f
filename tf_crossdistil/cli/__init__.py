"""The `crossdistil` command."""
