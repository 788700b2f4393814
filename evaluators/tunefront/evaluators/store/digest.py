"""Hashes of values: nested mappings, sequences and arrays."""

from collections.abc import Iterator, Mapping
from hashlib import sha256

import numpy as np


def digest_of(value: object) -> str:
    """Return a hash of nested mappings, sequences and arrays; of other values by their repr."""
    digest = sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()[:16]


def _parts(value: object) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        for name in sorted(value):
            yield f"{{{name!r}:".encode()
            yield from _parts(value[name])
    elif isinstance(value, list | tuple):
        yield f"[{len(value)}:".encode()
        for part in value:
            yield from _parts(part)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield value.tobytes()
    else:
        yield f"{value!r};".encode()
