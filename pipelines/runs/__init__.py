"""The directory of a run: its files, reports, progress and publication."""
