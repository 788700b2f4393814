"""Tables and JSON values of exports, searches and the cache."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.statistics.formatting import number_text

from .tables import table_of

if TYPE_CHECKING:
    from rich.table import Table

    from tunefront.evaluators.store.eviction import Product
    from tunefront.evaluators.store.usage import Cache
    from tunefront.search.deploy.verify import Verification
    from tunefront.search.run.listing import Search

CHECK_MARKS: Mapping[bool | None, str] = {
    True: "holds",
    False: "DOES NOT HOLD",
    None: "not compared",
}


def verification_table(verification: "Verification") -> "Table":
    """Build the table of an export's checks."""
    from tunefront.evaluators.exports.verification import DECIDING

    rows = [
        [
            check.name,
            "worse"
            if check.holds is False and check.name not in DECIDING
            else CHECK_MARKS[check.holds],
            check.detail,
        ]
        for check in verification.checks
    ]
    return table_of(["check", "", "found"], rows)


def searches_table(searches: "Sequence[Search]") -> "Table":
    """Build the table of searches, in the given order."""
    rows = [
        [
            search.folder.name,
            f"{search.changed:%Y-%m-%d %H:%M}",
            search.status.counts() if search.status is not None else "-",
            "running" if search.status is not None and search.status.driver is not None else "",
            search.summary,
            str(search.folder.parent.parent),
        ]
        for search in searches
    ]
    return table_of(["search", "changed", "trials", "", "found", "folder"], rows)


def searches_record(searches: "Sequence[Search]") -> list[dict[str, Any]]:
    """Return searches as plain JSON values."""
    return [
        {
            "search": search.folder.name,
            "folder": str(search.folder),
            "changed": search.changed.isoformat(timespec="seconds"),
            "trials": len(search.status.trials) if search.status is not None else None,
            "running": search.status is not None and search.status.driver is not None,
            "found": search.summary,
        }
        for search in searches
    ]


def cache_table(cache: "Cache") -> "Table":
    """Build the table of the cache's folder, size, limit and oldest use."""
    from tunefront.evaluators.store.usage import size_mb

    oldest = cache.oldest
    rows = [
        ["folder", str(cache.folder)],
        ["products", f"{len(cache.products)}, {_size(size_mb(cache.products))}"],
        ["limit", f"{_size(cache.limit_mb)} (TUNEFRONT_CACHE_LIMIT_GB)"],
        ["oldest", f"last used {oldest:%Y-%m-%d %H:%M}" if oldest else "-"],
        [
            "prepared",
            f"{len(cache.prepared)}, {_size(size_mb(cache.prepared))} (outside the limit)",
        ],
    ]
    return table_of(["cache", "found"], rows)


def cache_record(cache: "Cache", removed: "Sequence[Product]") -> dict[str, Any]:
    """Return the cache, and what was just removed from it, as plain JSON values."""
    from tunefront.evaluators.store.usage import size_mb

    return {
        "schema": 1,
        "folder": str(cache.folder),
        "products": len(cache.products),
        "size_mb": size_mb(cache.products),
        "limit_mb": cache.limit_mb,
        "oldest": cache.oldest.isoformat(timespec="seconds") if cache.oldest else None,
        "prepared": {"folders": len(cache.prepared), "size_mb": size_mb(cache.prepared)},
        "removed": {"folders": len(removed), "size_mb": size_mb(removed)},
    }


def removed_line(cache: "Cache", removed: "Sequence[Product]", wanted: int) -> str:
    """Format what was removed; if more than `wanted` bytes remain, they are reported as in use."""
    from tunefront.evaluators.store.usage import size_mb

    left = [*cache.products, *(cache.prepared if wanted == 0 else [])]
    held = f"; {len(left)} in use stay" if size_mb(left) * 2**20 > wanted else ""
    return f"removed {len(removed)} folders, {_size(size_mb(removed))}{held}"


def _size(size_mb: float) -> str:
    gb = size_mb >= 1024
    return f"{number_text(size_mb / 1024)} GB" if gb else f"{number_text(size_mb, decimals=0)} MB"
