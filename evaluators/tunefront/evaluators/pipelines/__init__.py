"""The stages of one evaluation."""
