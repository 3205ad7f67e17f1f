# SPDX-License-Identifier: Apache-2.0
"""Checking rows: columns as text and numbers, labels, splits, and what is wrong with the others."""
