"""The pipelines' tasks: functions that run in fresh processes, with their requests and results."""
