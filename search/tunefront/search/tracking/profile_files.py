"""A trial's profile in its MLflow run."""

from tunefront.search.profile.run import ProfiledTrial
from tunefront.search.results.result import Result
from tunefront.spaces import TrackingError


def add_to_mlflow(result: Result, found: ProfiledTrial, search_id: str) -> str:
    """Log a profile's files below `profile/` in the trial's MLflow run; return their address.

    Raises:
        TrackingError: If MLflow can't be written, or another process is writing this search.
    """
    from .projection import Projection
    from .store import check_reachable, error_text, only_writer

    check_reachable(result.experiment)
    with only_writer(result.experiment):
        try:
            projection = Projection(result.experiment, search_id)
            projection.write_trial(found.trial, result)
            return projection.add_files(found.trial, found.folder, "profile")
        except TrackingError:
            raise
        except Exception as error:  # MLflow raises many types; each means that nothing was written
            raise TrackingError(f"MLflow could not be written ({error_text(error)})") from error
