# SPDX-License-Identifier: Apache-2.0
"""Beam's runners on this machine: which may be named, their worker processes, Ctrl-C."""
