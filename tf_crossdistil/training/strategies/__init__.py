# SPDX-License-Identifier: Apache-2.0
"""Over which devices and hosts a training step is spread."""
