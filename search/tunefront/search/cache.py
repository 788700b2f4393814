"""The cache on this machine: what lies in it, and making it smaller."""

import re
from collections.abc import Mapping

from tunefront.spaces import CacheError

SIZE_UNITS: Mapping[str, int] = {"MB": 2**20, "GB": 2**30, "TB": 2**40}


def parse_size(written: str) -> int:
    """Bytes of a size such as `10GB`.

    Raises:
        CacheError: If it is none.
    """
    found = re.fullmatch(r"(\d+\.?\d*)\s*(MB|GB|TB)", written.strip().upper())
    size = int(float(found[1]) * SIZE_UNITS[found[2]]) if found else 0
    if size <= 0:
        raise CacheError(
            f"--limit: a size above 0 such as 500MB, 10GB or 1.5TB is needed, but got {written!r}"
        )
    return size
