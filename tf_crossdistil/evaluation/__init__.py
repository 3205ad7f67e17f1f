# SPDX-License-Identifier: Apache-2.0
"""Evaluation: result tables, plots and the report page."""
