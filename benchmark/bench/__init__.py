"""What the suite costs and how exact it is: metrics, pooled metrics, the rows of a table."""
