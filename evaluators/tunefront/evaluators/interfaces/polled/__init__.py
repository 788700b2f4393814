"""Endpoints that are polled, and how they are measured under a load, for several interfaces."""
