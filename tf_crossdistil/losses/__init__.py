# SPDX-License-Identifier: Apache-2.0
"""The paper's loss functions: pure functions on tensors."""
