"""Export folders: files, scripts, verification, the model registry."""
