# SPDX-License-Identifier: Apache-2.0
"""Hyper-parameter search."""
