"""Published datasets: download, extract, export."""
