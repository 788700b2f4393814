"""Where a trial's time goes, and what could be done about it."""
