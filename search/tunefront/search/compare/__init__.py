"""Trials side by side: what differs, and what they answer."""
