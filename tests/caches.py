"""Caches of their own for tests that start whole searches."""

from pathlib import Path

from tunefront.evaluators import cache_folder


def new_cache(folder: Path) -> Path:
    """A cache that holds MLflow's empty store alone: what every search but a user's first finds."""
    kept = cache_folder() / "mlflow"
    kept.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "mlflow"
    if not link.exists():
        link.symlink_to(kept)
    return folder
