"""The report: one HTML page about a search that recomputes the picks when limits are changed."""
