# SPDX-License-Identifier: Apache-2.0
"""Backbones: how tasks share what lies between the features and the towers. One a file, behind `base.Backbone`."""
