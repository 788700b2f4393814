"""The report: one page that holds a search, and picks again with other limits."""
