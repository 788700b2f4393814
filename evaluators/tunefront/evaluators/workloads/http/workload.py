"""A service over HTTP: whether its responses are those of the baseline, and the right ones."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.interfaces.http import HttpEndpoint, HttpRequest
from tunefront.evaluators.interfaces.http.agreement import value_agreement
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.load_generator import run_requests
from tunefront.evaluators.interfaces.polled.server_spec import FOLDER
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.base import EnoughItems, HttpWorkload
from tunefront.evaluators.workloads.outputs import Sample, shortened
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.sequential import (
    ItemIndices,
    evaluate_items,
    evaluated_places,
    sample_of,
    sampled,
)
from tunefront.evaluators.workloads.sources.answers import EXACT_MATCH
from tunefront.evaluators.workloads.sources.callables import call, files_of, scores_of
from tunefront.evaluators.workloads.sources.data import DataRow
from tunefront.evaluators.workloads.sources.hub import local_files
from tunefront.evaluators.workloads.sources.own_quality import own_metric, with_scores
from tunefront.evaluators.workloads.sources.trace import Arrival, read_trace
from tunefront.evaluators.workloads.spec import HTTP, WorkloadSpec
from tunefront.spaces import Configuration, WorkloadError
from tunefront.spaces.metric import Metric

from .predictions import compared_values, response_values, value_predictions
from .rows import RequestRow, answer_column, has_answer_column, read_request_rows, request_of_row
from .text import is_answer, json_text

RESPONSE_AGREEMENT = Metric(
    name="response_agreement",
    unit="",
    direction="maximize",
    summary="mean agreement of responses with the baseline's: cosine similarity of lists of "
    "numbers, 1 or 0 for other values that are equal or not",
    lowest=-1.0,
    highest=1.0,
)


class HttpService(HttpWorkload):
    """A service that is called over HTTP with a request for each row of the data.

    Data: rows with a column for each placeholder of the request, and optionally `answer`. Quality
    sends one request at a time. Responses are compared with those of the baseline; its own
    agreement is 1. A user's own function (the key `quality`) gives the primary metric, if there is
    one: it is called with a function `respond(rows)`, which returns the value of the response to
    each row, and returns one number, or one number per item.
    """

    task = HTTP

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec
        self.files_are_complete = spec.quality is None
        self._configuration: Configuration | None = None

    def configure(self, configuration: Configuration) -> None:
        """Keep the configuration for the user's quality function."""
        self._configuration = configuration

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """The metrics, that of the user's function first; `exact_match` only with answers."""
        answered = (EXACT_MATCH,) if has_answer_column(self.spec) else ()
        found = (RESPONSE_AGREEMENT, *answered)
        return found if self.spec.quality is None else (own_metric(self.spec, found), *found)

    def metrics_left_out(self) -> Mapping[str, str]:
        """Return `exact_match` if the data has no answers."""
        if EXACT_MATCH in self.metrics:
            return {}
        column = answer_column(self.spec)
        return {EXACT_MATCH.name: f"the data has no column {column!r} to compare responses with"}

    @cached_property
    def _rows(self) -> tuple[RequestRow, ...]:
        return read_request_rows(self.spec)

    @property
    def _load(self) -> LoadSpec:
        return self.spec.load or LoadSpec()

    @cached_property
    def _trace(self) -> tuple[Arrival, ...]:
        """The times of the trace that is replayed; none without one.

        Raises:
            WorkloadError: If a row has numbers of tokens.
        """
        found = read_trace(self.spec.path(self._load.trace)) if self._load.trace else ()
        for number, row in enumerate(found, start=1):
            if row.input_tokens is not None or row.output_tokens is not None:
                raise WorkloadError(
                    f"load.trace: request {number} has a number of tokens, but requests of task "
                    f"{self.task} have none; keep at_s alone"
                )
        return found

    def loads(self) -> Sequence[Load]:
        """Return the load levels of the experiment."""
        return self._load.loads([row.at_s for row in self._trace])

    def requests(self, batch_size: int, count: int) -> list[HttpRequest]:
        """Return the requests of rows in the order of `sample_of`.

        Raises:
            WorkloadError: If the data can't be read, or a request can't be sent.
        """
        return [self._rows[place].request for (place,) in sample_of(len(self._rows), 1, count)]

    def quality(
        self,
        run: HttpEndpoint,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        """Send the requests of the rows, one at a time, and compare the responses.

        Raises:
            EvaluationError: If a request fails, or its response does not have the wanted value
                (cause "invalid output").
        """
        known = None if reference is None else response_values(reference)
        values: dict[int, object] = {}

        def score(places: ItemIndices) -> tuple[Array, Array]:
            for place in places.tolist():
                values[place] = run_requests(run, [self._rows[place].request])[0].value
            agreements = [
                1.0 if known is None else value_agreement(values[place], known[place])
                for place in places.tolist()
            ]
            return np.array(agreements), np.ones(len(places))

        enough = None if self.spec.quality else enough
        items, weights = evaluate_items(len(self._rows), score, enough)
        places = evaluated_places(weights).tolist()
        metrics = {RESPONSE_AGREEMENT.name: mean_of(items[places])}
        if EXACT_MATCH in self.metrics:
            right = [is_answer(values[place], self._rows[place].answer) for place in places]
            metrics[EXACT_MATCH.name] = mean_of(np.array(right, dtype=np.float64))
        examples = sampled(len(self._rows)).tolist()
        found = Quality(
            metrics=metrics,
            items=items,
            weights=weights,
            predictions=value_predictions(
                [values[place] for place in places],
                [(values if known is None else known)[place] for place in examples],
            ),
        )
        return self._with_own(found, run) if self.spec.quality else found

    def _with_own(self, quality: Quality, run: HttpEndpoint) -> Quality:
        """Return the quality with the scores of the user's function as the primary metric."""
        name = str(self.spec.quality)

        def respond(rows: Sequence[DataRow]) -> list[object]:
            requests = [request_of_row(self.spec, row) for row in rows]
            return [run_requests(run, [request])[0].value for request in requests]

        returned = call(name, self.spec.folder, respond, configuration=self._configuration)
        return with_scores(quality, self.spec.metric, scores_of(name, returned))

    def samples(self, run: HttpEndpoint, quality: Quality) -> Sequence[Sample]:
        """Return rows with the response, and the answer or the baseline's response."""
        own_scores = self.spec.quality is not None  # whose weights are not those of rows
        all_rows = range(len(self._rows))
        evaluated = all_rows if own_scores else evaluated_places(quality.weights).tolist()
        values = dict(zip(evaluated, response_values(quality.predictions), strict=True))
        examples = sampled(len(self._rows)).tolist()
        compared = zip(examples, compared_values(quality.predictions), strict=True)
        return [self._sample(place, values[place], other) for place, other in compared]

    def _sample(self, place: int, value: object, compared: object) -> Sample:
        row = self._rows[place]
        answered = row.answer is not None
        return Sample(
            item=place,
            input=shortened(row.text),
            output=shortened(json_text(value)),
            expected=shortened(json_text(row.answer if answered else compared)),
            right=is_answer(value, row.answer) if answered else None,
            score=None if answered else round(value_agreement(value, compared), 4),
            score_name="" if answered else RESPONSE_AGREEMENT.name,
        )

    def checkpoint(self) -> Path | None:
        """Return the folder of the model; a hub model is downloaded. None without a model."""
        if not self.spec.model:
            return None
        folder = self.spec.path(self.spec.model)
        return folder if folder.is_dir() else local_files(self.spec)

    def files(self) -> Sequence[Path]:
        """Return the data, the model, and files of the experiment that are named.

        These are the files in the server's command, and that of the user's quality function.
        """
        named = [] if self.spec.quality is None else [self.spec.quality]
        model = self.checkpoint()
        return (
            self.spec.path(str(self.spec.data)),
            *([] if model is None else [model]),
            *files_of(named, self.spec.folder),
            *self._command_files(),
        )

    def _command_files(self) -> Sequence[Path]:
        """Return the files below the experiment's folder that the server's command names."""
        server = self.spec.server
        if server is None:
            return ()
        root = Path(self.spec.folder)
        words = map(Path, server.filled({FOLDER: self.spec.folder}))
        return sorted({word for word in words if word.is_relative_to(root) and word.is_file()})

    def notes(self) -> Sequence[str]:
        """Return what a trace has."""
        if not self._trace:
            return ()
        return (f"the trace has {len(self._trace)} requests in {self._trace[-1].at_s:.3g} s",)
