"""Metrics: exact ones on arrays, and what they are computed from."""
