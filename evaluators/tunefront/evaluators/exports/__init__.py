"""Export folders: files, scripts, verification, model registry."""
