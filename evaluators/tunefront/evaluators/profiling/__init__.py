"""Profiles: their values, kinds of work, trace parsing, roofline."""
