"""How requests that a model got differ from the rows that it was trained on."""
