"""The experiment file: schema, objectives, limits, overrides, starter file."""
