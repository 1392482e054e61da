"""A results folder as one web page: boards, rank stability, curves, costs, images and the record behind every cell."""
