# SPDX-License-Identifier: Apache-2.0
"""Metrics: exact ones on arrays, and what they are computed from."""
