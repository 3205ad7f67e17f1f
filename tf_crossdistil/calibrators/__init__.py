# SPDX-License-Identifier: Apache-2.0
"""Calibrators: how a teacher's logits become those of probabilities."""
