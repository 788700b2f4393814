"""Schema of an experiment file: keys, types and ranges."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from tunefront.evaluators import Architecture, Direction
from tunefront.evaluators.interfaces.polled.capacity import CapacityKind

from .local_time import next_time

LARGEST_SEED = 2**32 - 1
"""Largest seed that every sampler takes; Optuna's take 32 bits."""
MOST_HOURS = 87_600
"""Ten years: what waits for longer overflows the clocks of the operating system."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoadSection(_Section):
    """Key `workload.load`: when requests arrive and how long they are; see `LoadSpec`."""

    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    trace: str | None = None
    shared_prefix: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @field_validator("concurrency", "rate", mode="before")
    @classmethod
    def _levels(cls, written: object) -> object:
        """Take a single number as the only load level."""
        if written == []:
            raise ValueError("a number or a list of load levels")
        return written if isinstance(written, list) else [written]


class ServerSection(_Section):
    """Key `workload.server`: a command that starts a server, or its address; see `ServerSpec`."""

    command: str | None = None
    url: str | None = None
    ready: str | None = None
    api: str | None = None
    prompts: str | None = None
    start_s: float | None = None
    api_key: str | None = None


class RequestSection(_Section):
    """Key `workload.request`: a request over HTTP with placeholders; see `RequestTemplate`."""

    path: str | None = None
    method: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None


class QualitySection(_Section):
    """Section `workload.quality`: a command that evaluates quality."""

    command: str = Field(min_length=1)


class WorkloadSection(_Section):
    """Section `workload`: the model, its data and its quality metric."""

    task: str = Field(min_length=1)
    model: str | None = Field(default=None, min_length=1)
    data: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    calibration: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    max_length: int = Field(default=256, ge=2, le=1_048_576)
    items: int | None = Field(default=None, ge=1)
    inputs: str | None = None
    quality: str | QualitySection | None = None
    output: str | int | None = None
    samples: str | None = None
    metric: str = Field(default="score", pattern=r"^[a-z][a-z0-9_]*$")
    direction: Direction | None = None
    architecture: Architecture | None = None
    load: LoadSection = LoadSection()
    slo: str | dict[str, float] = Field(default_factory=dict)
    server: ServerSection = ServerSection()
    request: RequestSection = RequestSection()
    response: str | None = Field(default=None, min_length=1)


class BudgetSection(_Section):
    """Section `budget`: the search ends when the first given bound is reached."""

    trials: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0, le=MOST_HOURS)
    until: str | None = None
    least_gain: float | None = Field(default=None, gt=0, lt=1)

    @field_validator("until", mode="before")
    @classmethod
    def _time(cls, written: object) -> object:
        """Convert back to text: YAML reads 22:30 as a number of minutes and a day as a date."""
        if isinstance(written, bool) or written is None:
            return written
        if isinstance(written, int) and 0 <= written < 24 * 60:
            written = f"{written // 60:02}:{written % 60:02}"
        if isinstance(written, datetime):
            written = written.isoformat(sep=" ", timespec="minutes")
        if isinstance(written, str):
            next_time(written, datetime.now())
        return written


class MeasurementSection(_Section):
    """Section `measurement`: how speed is measured and whether trials are stopped early."""

    seconds: float = Field(default=5.0, gt=0, le=3600)
    precision: float = Field(default=0.03, gt=0, lt=1)
    turns: int = Field(default=7, ge=3, le=1000)
    requests: int = Field(default=4, ge=1, le=1000)
    wait: float = Field(default=60.0, ge=0, le=3600)
    reference: bool = True
    early_stop: bool = True


class TimeoutSection(_Section):
    """Section `timeouts`: seconds after which a step counts as hung."""

    build: float = Field(default=1800, gt=0, le=3600 * MOST_HOURS)
    quality: float = Field(default=1800, gt=0, le=3600 * MOST_HOURS)
    measure: float = Field(default=900, gt=0, le=3600 * MOST_HOURS)


class ConfirmationSection(_Section):
    """Section `confirmation`: how finalists are measured again, interleaved with the baseline."""

    finalists: int = Field(default=8, ge=0, le=100)
    rounds: int = Field(default=3, ge=1, le=100)
    share: float = Field(default=0.15, gt=0, lt=1)
    capacity: CapacityKind | None = None
    capacity_seconds: float = Field(default=60.0, gt=0, le=3600)


class ExperimentSection(_Section):
    """The whole experiment file."""

    name: str = Field(min_length=1, max_length=80)
    prepare: str | None = None
    extensions: list[str] = Field(default_factory=list)
    workload: WorkloadSection
    space: dict[str, Any]
    baseline: dict[str, Any] = Field(default_factory=dict)
    current: dict[str, Any] | None = None
    objectives: dict[str, Direction]
    limits: dict[str, Any] = Field(default_factory=dict)
    prefer: str | None = None
    price_per_hour: float | None = Field(default=None, gt=0)
    budget: BudgetSection = BudgetSection(trials=60, hours=8)
    sampler: Literal["ehvi", "tpe", "nsga2", "gp", "random", "grid"] = "ehvi"
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    warm_start: str | None = None
    history: bool = True
    measurement: MeasurementSection = MeasurementSection()
    timeouts: TimeoutSection = TimeoutSection()
    confirmation: ConfirmationSection = ConfirmationSection()
    concurrent_trials: int | None = Field(default=None, ge=1)
    allow_parallel_on_cpu: bool = False
