"""Conformance suites of the contracts, for built-in extensions and for a user's own.

Each suite is a tuple of checks: functions that raise `NotConformant` with what is wrong.
`tunefront doctor EXPERIMENT --check` runs them on what an experiment adds.
"""
