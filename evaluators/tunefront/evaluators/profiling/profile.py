"""The values of a profile: rows of work with their time, roofline bounds, and aggregates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "matmul",
    "convolution",
    "attention",
    "normalisation",
    "elementwise",
    "memory",
    "quantise",
    "overhead",
    "other",
]
RooflineBound = Literal["compute", "memory", "overhead", "unknown"]
PRODUCTS: tuple[Kind, ...] = ("matmul", "convolution", "attention", "other")
"""Kinds whose operations are counted; those of all other kinds are negligible."""
BETWEEN = "(between operators)"
"""Name of the row with the time outside all operators: the runtime itself, and Python."""
NEAR = 0.25
"""Minimum ratio of roofline time to measured time at which compute or memory is the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Measured peaks of this machine with the candidate's threads.

    Attributes:
        peak_gflops: GFLOP/s of a large matrix product in the candidate's number format.
        peak_gb_s: GB/s, reading plus writing, of a copy too large for the caches.
        matmul: Description of the matrix product.
    """

    peak_gflops: float
    peak_gb_s: float
    matmul: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """An operator in a module, per request (mean over all requests).

    Attributes:
        operator: Its name in the runtime.
        kind: Its kind of work.
        module: Path of its module; None if the runtime does not report it.
        calls: Number of calls.
        self_ms: Its time in ms without the operators it called.
        flops: Floating-point (or integer) operations of products, 0 if it has none; None if
            unknown.
        moved_bytes: Estimated bytes of its inputs and outputs; None if unknown.
    """

    operator: str
    kind: Kind
    module: str | None
    calls: float
    self_ms: float
    flops: float | None = None
    moved_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The aggregate of several rows.

    Attributes:
        name: Name of the group.
        kind: Common kind of the rows; `other` if they differ.
        calls: Calls per request.
        self_ms: Time per request in ms.
        share: Share of the profiled request's time.
        flops: As in `ProfileRow`.
        moved_bytes: As in `ProfileRow`.
        bound: Roofline bound.
    """

    name: str
    kind: Kind
    calls: float
    self_ms: float
    share: float
    flops: float | None
    moved_bytes: float | None
    bound: RooflineBound

    @property
    def gflops(self) -> float | None:
        """Achieved GFLOP/s; None if unknown."""
        if not self.flops or self.self_ms <= 0:
            return None
        return self.flops / self.self_ms / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The profile of one candidate.

    Attributes:
        rows: Rows that cover all time of a profiled request, the longest first.
        request_ms: Time of an unprofiled request in ms.
        profiled_ms: Time of a profiled request in ms, the sum of the rows.
        passes: Number of profiled passes over all requests.
        requests: Number of different requests in a pass.
        roofline: Measured peaks of the machine.
        facts: Read-back of the candidate.
        notes: Notes for the reader of the profile.
        products: Operations (FLOPs) per request by kind, where the rows do not report theirs.
    """

    rows: Sequence[ProfileRow]
    request_ms: float
    profiled_ms: float
    passes: int
    requests: int
    roofline: Roofline
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()
    products: Mapping[str, float] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Relative slowdown of a request by profiling."""
        return self.profiled_ms / self.request_ms - 1

    def whole(self) -> Part:
        """Aggregate all rows."""
        return self._part("whole", self.rows, sum(self.products.values()))

    def by_kind(self) -> list[Part]:
        """Aggregate by kind, the longest first."""
        return self._parts(lambda row: row.kind, self.products)

    def by_operator(self) -> list[Part]:
        """Aggregate by operator, the longest first."""
        return self._parts(lambda row: row.operator)

    def by_module(self) -> list[Part]:
        """Aggregate by module, merging the layers of a stack; empty if no module is known."""
        if all(row.module is None for row in self.rows):
            return []
        return self._parts(lambda row: stacked(row.module) if row.module else "(no module)")

    def bounds(self) -> dict[RooflineBound, float]:
        """Return each bound's share of the time, summed over rows; the shares add up to one."""
        shares: dict[RooflineBound, float] = dict.fromkeys(
            ("compute", "memory", "overhead", "unknown"), 0
        )
        for _, share, bound in self.bounded_rows():
            shares[bound] += share
        return shares

    def bounded_rows(self) -> list[tuple[ProfileRow, float, RooflineBound]]:
        """Return every row with its share of the time and its bound."""
        return [
            (
                row,
                row.self_ms / self.profiled_ms,
                bound_of(row.self_ms, row.flops, row.moved_bytes, self.roofline),
            )
            for row in self.rows
        ]

    def _parts(
        self, named: Callable[[ProfileRow], str], products: Mapping[str, float] | None = None
    ) -> list[Part]:
        groups: dict[str, list[ProfileRow]] = {}
        for row in self.rows:
            groups.setdefault(named(row), []).append(row)
        known = products or {}
        parts = [self._part(name, rows, known.get(name, 0.0)) for name, rows in groups.items()]
        return sorted(parts, key=lambda part: -part.self_ms)

    def _part(self, name: str, rows: Sequence[ProfileRow], products: float = 0.0) -> Part:
        """Aggregate rows; `products` are their operations if no row reports any."""
        self_ms = sum(row.self_ms for row in rows)
        flops: float | None = known_sum([row.flops for row in rows]) or products
        if not flops and any(row.flops is None for row in rows):
            flops = None
        moved = known_sum([row.moved_bytes for row in rows])
        kinds: set[Kind] = {row.kind for row in rows}
        return Part(
            name=name,
            kind=kinds.pop() if len(kinds) == 1 else "other",
            calls=sum(row.calls for row in rows),
            self_ms=self_ms,
            share=self_ms / self.profiled_ms,
            flops=flops,
            moved_bytes=moved,
            bound=bound_of(self_ms, flops, moved, self.roofline),
        )


def bound_of(
    self_ms: float, flops: float | None, moved_bytes: float | None, roofline: Roofline
) -> RooflineBound:
    """Classify what limits the speed of some work: compute, memory or overhead.

    The bound is the resource that takes longer at the machine's peak. If both would take less than
    a quarter (`NEAR`) of the measured time, it is overhead (roofline model, Williams, Waterman,
    Patterson 2009, with a margin), or unknown if either amount of work is unknown.
    """
    if flops is None and moved_bytes is None:
        return "unknown"
    compute_ms = (flops or 0.0) / roofline.peak_gflops / 1e6
    memory_ms = (moved_bytes or 0.0) / roofline.peak_gb_s / 1e6
    if max(compute_ms, memory_ms) < NEAR * self_ms:
        return "unknown" if flops is None or moved_bytes is None else "overhead"
    return "compute" if compute_ms >= memory_ms else "memory"


def known_sum(values: Sequence[float | None]) -> float | None:
    """Return the sum of the values that are not None; None if all are."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def between(left_ms: float) -> ProfileRow:
    """Return the row for the remaining time of a request, outside all operators."""
    return ProfileRow(
        operator=BETWEEN,
        kind="overhead",
        module=None,
        calls=1,
        self_ms=max(0.0, left_ms),
        flops=0.0,
        moved_bytes=0.0,
    )


def stacked(module: str) -> str:
    """Replace the layer numbers in a module's path: `encoder.layer.*.output`."""
    return ".".join("*" if part.isdigit() else part for part in module.split("."))


def merged(rows: Sequence[ProfileRow], requests: float) -> list[ProfileRow]:
    """Merge rows of the same operator and module into means over requests, the longest first."""
    groups: dict[tuple[str, Kind, str | None], list[ProfileRow]] = {}
    for row in rows:
        groups.setdefault((row.operator, row.kind, row.module), []).append(row)
    made = [
        ProfileRow(
            operator=operator,
            kind=kind,
            module=module,
            calls=sum(row.calls for row in some) / requests,
            self_ms=sum(row.self_ms for row in some) / requests,
            flops=_mean([row.flops for row in some], requests) if kind in PRODUCTS else 0.0,
            moved_bytes=_mean([row.moved_bytes for row in some], requests),
        )
        for (operator, kind, module), some in groups.items()
    ]
    return sorted(made, key=lambda row: -row.self_ms)


def _mean(values: Sequence[float | None], requests: float) -> float | None:
    found = known_sum(values)
    return None if found is None else found / requests
