"""The network and the model that trains it."""
