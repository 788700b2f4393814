"""The file a user writes: schema, objectives, limits, overrides, starter file."""
