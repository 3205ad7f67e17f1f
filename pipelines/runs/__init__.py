# SPDX-License-Identifier: Apache-2.0
"""The directory of a run: its files, reports, progress and publication."""
