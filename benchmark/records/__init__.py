"""What was measured, how it can be refuted, and what others published."""
