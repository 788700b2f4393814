"""How a candidate is called: request and response types, and the timing of calls."""
