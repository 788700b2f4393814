"""MLflow: store, projection of the study, saved views, notes, model registry, server."""
