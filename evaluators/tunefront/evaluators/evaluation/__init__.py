"""Settings of an evaluation, its result, and what a build leaves."""
