"""MLflow: store, projection, views, note, server."""
