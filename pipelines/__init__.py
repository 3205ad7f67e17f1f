# SPDX-License-Identifier: Apache-2.0
"""Beam preprocessing: from raw logs to a prepared data set."""
