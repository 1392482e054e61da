"""One module per dataset; the module's name, with hyphens, is the dataset's name."""
