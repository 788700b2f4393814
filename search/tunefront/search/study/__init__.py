"""The record: an Optuna study in sqlite, its trials, derived metrics, inferred failures."""
