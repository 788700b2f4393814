"""What a profile is: rows of work with their time, what bounds them, and sums of them.

Pure values; what fills them are the files beside this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
"""Kinds that may hold products; the operations of all others are not worth counting."""
BETWEEN = "(between operators)"
"""The row of the time that no operator took: the runtime itself, and Python."""
NEAR = 0.25
"""Of its time, what work at the machine's peaks would take at the least to be what bounds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """What this machine reaches, with the candidate's threads.

    Attributes:
        peak_gflops: Of a large matrix product in the candidate's number format.
        peak_gb_s: Of a copy too large for the caches, reading and writing.
        matmul: What was multiplied, in words.
    """

    peak_gflops: float
    peak_gb_s: float
    matmul: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """An operator in a module, over one request (the mean of all).

    Attributes:
        operator: Its name in the runtime.
        kind: What sort of work it is.
        module: The module it belongs to; None where the runtime does not know.
        calls: How often it ran.
        self_ms: Its time without what it called.
        flops: Floating-point (or integer) operations of products, 0 where it has none; None where
            unknown.
        moved_bytes: Bytes of its inputs and outputs, an estimate; None where unknown.
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
    """Some rows together.

    Attributes:
        name: What they have in common.
        kind: The kind of all of them; `other` where they differ.
        calls: Calls in a request.
        self_ms: Time in a request.
        share: Of the profiled request.
        flops: As in `Row`.
        moved_bytes: As in `Row`.
        bound: What bounds them.
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
        """Billions of operations a second that it reaches; None where unknown."""
        if not self.flops or self.self_ms <= 0:
            return None
        return self.flops / self.self_ms / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of one candidate goes.

    Attributes:
        rows: All of the profiled request's time, the longest first.
        request_ms: A request, unprofiled.
        profiled_ms: A request, profiled; what the rows add up to.
        passes: Passes over all requests that were profiled.
        requests: Different requests in a pass.
        roofline: What the machine reaches.
        facts: What the candidate said it is.
        notes: What the reader must know about these figures.
        products: Operations of a request by kind, where rows can't tell theirs.
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
        """How much longer a profiled request takes, relative."""
        return self.profiled_ms / self.request_ms - 1

    def whole(self) -> Part:
        """All rows."""
        return self._part("whole", self.rows, sum(self.products.values()))

    def by_kind(self) -> list[Part]:
        """A part for each kind."""
        return self._parts(lambda row: row.kind, self.products)

    def by_operator(self) -> list[Part]:
        """A part for each operator."""
        return self._parts(lambda row: row.operator)

    def by_module(self) -> list[Part]:
        """A part for each module, the layers of a stack together; empty where none is known."""
        if all(row.module is None for row in self.rows):
            return []
        return self._parts(lambda row: stacked(row.module) if row.module else "(no module)")

    def bounds(self) -> dict[RooflineBound, float]:
        """The share of the time that each bound has, row by row; they add up to one."""
        shares: dict[RooflineBound, float] = dict.fromkeys(
            ("compute", "memory", "overhead", "unknown"), 0
        )
        for _, share, bound in self.judged():
            shares[bound] += share
        return shares

    def judged(self) -> list[tuple[ProfileRow, float, RooflineBound]]:
        """Every row with its share of the time and what bounds it."""
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
        """Rows together; `products` are their operations where none of them tells."""
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "facts": dict(self.facts), "products": dict(self.products)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Profile":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **fields,
                "rows": [ProfileRow(**row) for row in fields["rows"]],
                "roofline": Roofline(**fields["roofline"]),
            }
        )


def bound_of(
    self_ms: float, flops: float | None, moved_bytes: float | None, roofline: Roofline
) -> RooflineBound:
    """What keeps work from being faster: arithmetic, memory, or neither of them.

    Work is bound by what it would wait for at the machine's peaks; where both peaks would allow
    four times the speed and more, it is overhead (Williams, Waterman, Patterson 2009, with a
    margin).
    """
    if flops is None and moved_bytes is None:
        return "unknown"
    compute_ms = (flops or 0.0) / roofline.peak_gflops / 1e6
    memory_ms = (moved_bytes or 0.0) / roofline.peak_gb_s / 1e6
    if max(compute_ms, memory_ms) < NEAR * self_ms:
        return "unknown" if flops is None or moved_bytes is None else "overhead"
    return "compute" if compute_ms >= memory_ms else "memory"


def known_sum(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def between(left_ms: float) -> ProfileRow:
    """What is left of a request beside its operators."""
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
    """A module's path with the layers' numbers left open: `encoder.layer.*.output`."""
    return ".".join("*" if part.isdigit() else part for part in module.split("."))


def merged(rows: Sequence[ProfileRow], requests: float) -> list[ProfileRow]:
    """Rows of one operator in one module together, as means over requests; the longest first."""
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
