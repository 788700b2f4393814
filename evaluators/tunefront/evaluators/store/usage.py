"""What is in the cache on this machine, and how it is reduced."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tunefront.evaluators import cache_folder, prepared_folder, stages_folder

from .eviction import Product, cache_limit, clear, evict, products, shelves


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What lies in the cache.

    Attributes:
        folder: Where it is.
        products: What stages produced.
        limit_mb: What these may take, in MB (2**20 bytes).
        prepared: What `prepare` scripts made; the limit is not theirs.
    """

    folder: Path
    products: Sequence[Product]
    limit_mb: float
    prepared: Sequence[Product]

    @property
    def oldest(self) -> datetime | None:
        """When the product that goes first was last used."""
        used = min((product.used for product in self.products), default=None)
        return None if used is None else datetime.fromtimestamp(used).astimezone()


def read_cache() -> Cache:
    """Look at the cache.

    Raises:
        CacheError: If its limit can't be read.
    """
    root = stages_folder()
    return Cache(
        folder=cache_folder(),
        products=products(shelves(root)),
        limit_mb=cache_limit(root) / 2**20,
        prepared=products([prepared_folder()]),
    )


def shrink_cache(limit: int) -> Sequence[Product]:
    """Evict products, used lately or not, until they take `limit` bytes; what is gone."""
    return evict(stages_folder(), limit, unused_s=0.0, abandoned_s=0.0)


def clear_cache() -> Sequence[Product]:
    """Remove every product and every prepared folder that nobody uses; what is gone."""
    return clear([*shelves(stages_folder()), prepared_folder()])


def size_mb(listed: Sequence[Product]) -> float:
    """What some products take, in MB (2**20 bytes)."""
    return sum(product.size for product in listed) / 2**20
