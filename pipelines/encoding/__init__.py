# SPDX-License-Identifier: Apache-2.0
"""Checked rows as framed tf.Example records."""
