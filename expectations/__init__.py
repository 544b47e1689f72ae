"""The gates: one readable JSON suite a table, and the one place that imports Great Expectations."""
