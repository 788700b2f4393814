"""One search from start to finish: preflight, driver, runner, confirmation, status."""
