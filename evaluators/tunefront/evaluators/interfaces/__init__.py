"""How a candidate is called: request and response types, and what is timed."""
