"""Score maps as files: written, read, measured."""
