# SPDX-License-Identifier: Apache-2.0
"""The network and the model that trains it."""
