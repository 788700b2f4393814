"""Values and parsers of profiles: kinds of work, traces, roofline."""
