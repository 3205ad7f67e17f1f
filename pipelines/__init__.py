"""Beam preprocessing: from raw logs to a prepared data set."""
