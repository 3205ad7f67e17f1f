# SPDX-License-Identifier: Apache-2.0
"""Comparison: methods over seeds under one budget, sweeps, and the tables, figures and page that come of it."""
