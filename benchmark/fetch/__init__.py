"""Published data sets: download, extract, export."""
