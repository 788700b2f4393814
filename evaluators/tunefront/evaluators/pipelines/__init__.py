"""Pipelines: the stages of one evaluation, and the steps that run in fresh processes."""
