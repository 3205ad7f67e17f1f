"""The paper's loss functions: pure functions on tensors."""
