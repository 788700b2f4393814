"""Tasks of the toy training pipeline; run by test_stage_runner.py in fresh processes."""

from tests.evaluators.pipelines.test_stage_runner import Data, Trained, Training

from tunefront.evaluators import Measurement
from tunefront.evaluators.isolation.interim import Interim, report_interim


def prepare(request: Data) -> None:
    if request.fails:
        raise ValueError("no data today")
    (request.folder / "data").write_text("5 rows")


def train(request: Training) -> Trained:
    """The loss of step n is 1/n, and more with another seed."""
    assert (request.data / "data").read_text() == "5 rows"
    step = 0
    for step in range(1, request.steps + 1):
        loss = Measurement.exact(1 / step, "")
        if report_interim(Interim(step=step, measurements={"loss": loss})).stop:
            break
    return Trained(steps=step, loss=1 / step + request.seed)
