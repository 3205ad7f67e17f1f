"""Calibrators: how a teacher's logits become those of probabilities."""
