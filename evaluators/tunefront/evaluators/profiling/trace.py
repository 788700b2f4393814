"""Chrome traces of torch's profiler as rows: nested spans, each with its self time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from .kinds import kernel_kind, torch_kind
from .profile import Kind, ProfileRow, between
from .work import Shape, torch_bytes, torch_flops

MARK = "tunefront request"
"""Name of the span of a request in a trace."""
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of GPU events."""
_Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """An operator of the program's graph.

    Attributes:
        operator: Its name in the profiler.
        module: Path of the innermost module; empty if there is none.
        module_class: Class of that module.
    """

    operator: str
    module: str
    module_class: str


@dataclass(slots=True, kw_only=True)
class Span:
    """A recorded execution of an operator, with the operators it called."""

    name: str
    start_us: float
    end_us: float
    shapes: Sequence[Shape]
    types: Sequence[str]
    texts: Sequence[str]
    number: int
    children: "list[Span]" = field(default_factory=list)

    @classmethod
    def of(cls, event: _Event) -> "Span":
        """Convert a complete event (`ph: X`) of a trace."""
        arguments = event.get("args", {})
        return cls(
            name=str(event["name"]),
            start_us=float(event["ts"]),
            end_us=float(event["ts"]) + float(event["dur"]),
            shapes=arguments.get("Input Dims", ()),
            types=arguments.get("Input type", ()),
            texts=arguments.get("Concrete Inputs", ()),
            number=int(arguments.get("External id", -1)),
        )

    @property
    def self_ms(self) -> float:
        """Its time in ms without the operators it called."""
        inside = sum(child.end_us - child.start_us for child in self.children)
        return max(0.0, self.end_us - self.start_us - inside) / 1e3


def requests_of(events: Sequence[_Event]) -> list[Span]:
    """Return the marked requests in order, each with the operators of its thread as a tree."""
    spans = [e for e in events if e.get("ph") == "X" and e.get("cat") in _ON_CPU]
    marks = [event for event in spans if event["name"] == MARK]
    threads = {(event["pid"], event["tid"]) for event in marks}
    own = [event for event in spans if (event["pid"], event["tid"]) in threads]
    found: list[Span] = []
    open_spans: list[Span] = []
    for event in sorted(own, key=lambda event: (float(event["ts"]), -float(event["dur"]))):
        span = Span.of(event)
        while open_spans and open_spans[-1].end_us <= span.start_us:
            open_spans.pop()
        if span.name == MARK:
            found.append(span)
            open_spans = [span]
        elif open_spans:
            open_spans[-1].children.append(span)
            open_spans.append(span)
    return found


_ON_CPU = ("cpu_op", "user_annotation")


def places_in(request: Span, graph: Sequence[CallSite]) -> dict[int, CallSite]:
    """Map the top-level spans of a request, by index, to the operators of the graph.

    Spans run in graph order, with conversions before and after; matching uses the longest common
    blocks of names (`difflib.SequenceMatcher`).
    """
    names = [span.name for span in request.children]
    matcher = SequenceMatcher(None, names, [place.operator for place in graph], autojunk=False)
    return {
        block.a + step: graph[block.b + step]
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    }


def rows_on_cpu(request: Span, places: Mapping[int, CallSite]) -> list[ProfileRow]:
    """Return every span of a request as a row, plus a row for the time between spans."""
    rows = [between(request.self_ms)]
    for number, span in enumerate(request.children):
        _collect(span, places.get(number), rows)
    return rows


def _collect(
    span: Span, place: CallSite | None, rows: list[ProfileRow], above: Kind | None = None
) -> tuple[bool, bool]:
    """Append a span and its children to `rows`; return whether any computes and any moves data.

    Work is attributed to the innermost operator that does it, and not counted again in its callers.
    """
    kind = above or torch_kind(span.name, place.module_class if place else "")
    inherited = kind if kind == "attention" else None
    below = [_collect(child, place, rows, inherited) for child in span.children]
    computed, moved_below = (any(found) for found in zip(*below, strict=True)) if below else (0, 0)
    flops = torch_flops(span.name, span.shapes, span.texts)
    moved = torch_bytes(span.name, span.shapes, span.types)
    if computed:
        flops = moved = 0.0
    elif moved_below and not flops:
        moved = 0.0
    rows.append(
        ProfileRow(
            operator=span.name,
            kind=kind,
            module=(place.module or None) if place else None,
            calls=1,
            self_ms=span.self_ms,
            flops=flops,
            moved_bytes=moved,
        )
    )
    return bool(computed or flops), bool(moved_below or moved)


def rows_on_gpu(
    request: Span, places: Mapping[int, CallSite], events: Sequence[_Event], until_us: float
) -> list[ProfileRow]:
    """Return every GPU event of a request as a row, plus a row for the remaining time.

    A row has the name and module of the operator that launched it, if that is known.

    Args:
        request: The request.
        places: Result of `places_in`.
        events: All events of the trace.
        until_us: Start of the next request in us.
    """
    launched: dict[int, ProfileRow] = {}
    for number, span in enumerate(request.children):
        _number(span, places.get(number), launched, None)
    rows: list[ProfileRow] = []
    seen: set[int] = set()
    for event in events:
        if event.get("ph") == "X" and event.get("cat") in ON_GPU:
            if not request.start_us <= float(event["ts"]) < until_us:
                continue
            number = int(event.get("args", {}).get("External id", -1))
            rows.append(_kernel_row(event, launched.get(number), repeated=number in seen))
            seen.add(number)
    whole_ms = (request.end_us - request.start_us) / 1e3
    return [between(max(0.0, whole_ms - sum(row.self_ms for row in rows))), *rows]


def _number(
    span: Span, place: CallSite | None, launched: dict[int, ProfileRow], above: Kind | None
) -> None:
    """Collect the operator, kind, module and work of each span by its external id."""
    kind = above or torch_kind(span.name, place.module_class if place else "")
    launched[span.number] = ProfileRow(
        operator=span.name,
        kind=kind,
        module=(place.module or None) if place else None,
        calls=1,
        self_ms=0.0,
        flops=torch_flops(span.name, span.shapes, span.texts),
        moved_bytes=torch_bytes(span.name, span.shapes, span.types),
    )
    for child in span.children:
        _number(child, place, launched, kind if kind == "attention" else None)


def _kernel_row(event: _Event, launcher: ProfileRow | None, *, repeated: bool) -> ProfileRow:
    """Convert a GPU event; the first event of an operator gets all of the operator's work."""
    name = str(event["name"])
    known = launcher is not None and launcher.kind != "other"
    return ProfileRow(
        operator=launcher.operator if launcher is not None and known else name,
        kind=launcher.kind if launcher is not None and known else kernel_kind(name),
        module=launcher.module if launcher is not None else None,
        calls=1,
        self_ms=float(event["dur"]) / 1e3,
        flops=None if launcher is None else 0.0 if repeated else launcher.flops,
        moved_bytes=None if launcher is None else 0.0 if repeated else launcher.moved_bytes,
    )
