# SPDX-License-Identifier: Apache-2.0
"""How requests that a model got differ from the rows that it was trained on."""
