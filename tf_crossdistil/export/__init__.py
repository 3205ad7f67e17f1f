# SPDX-License-Identifier: Apache-2.0
"""The student-only SavedModel, its warm-up file, and what it is checked against."""
