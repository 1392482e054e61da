"""Trained weights: our store, checkpoints and released files from elsewhere."""
