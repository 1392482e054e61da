"""Boards: from records and published numbers to tables on a terminal, in Markdown, CSV, LaTeX and HTML."""
