"""Settings of an evaluation, its result, and the record of a built candidate."""
