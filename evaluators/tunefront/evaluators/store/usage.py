"""Content of the cache on this machine, and commands that reduce it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tunefront.evaluators import cache_folder, prepared_folder, stages_folder

from .eviction import Product, cache_limit, clear, evict, products, shelves


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Content of the cache.

    Attributes:
        folder: The cache folder.
        products: Products of stages, the least recently used first.
        limit_mb: Size limit of these products, in MB (2**20 bytes).
        prepared: Output of `prepare` scripts; the limit does not apply to it.
    """

    folder: Path
    products: Sequence[Product]
    limit_mb: float
    prepared: Sequence[Product]

    @property
    def oldest(self) -> datetime | None:
        """When the least recently used product was last used; None without products."""
        used = min((product.used for product in self.products), default=None)
        return None if used is None else datetime.fromtimestamp(used).astimezone()


def read_cache() -> Cache:
    """Read the content of the cache.

    Raises:
        CacheError: If the limit in the environment is not a finite number above 0.
    """
    root = stages_folder()
    return Cache(
        folder=cache_folder(),
        products=products(shelves(root)),
        limit_mb=cache_limit(root) / 2**20,
        prepared=products([prepared_folder()]),
    )


def shrink_cache(limit: int) -> Sequence[Product]:
    """Evict products, even recently used ones, down to `limit` bytes; return the evicted ones."""
    return evict(stages_folder(), limit, unused_s=0.0, abandoned_s=0.0)


def clear_cache() -> Sequence[Product]:
    """Remove every product and prepared folder that is not locked; return the removed ones."""
    return clear([*shelves(stages_folder()), prepared_folder()])


def size_mb(listed: Sequence[Product]) -> float:
    """Return the total size of some products, in MB (2**20 bytes)."""
    return sum(product.size for product in listed) / 2**20
