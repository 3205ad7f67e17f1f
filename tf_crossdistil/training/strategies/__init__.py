"""Over which devices and hosts a training step is spread."""
