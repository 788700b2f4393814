"""Searches that run on this machine at the same time, by one file for each."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from tunefront.evaluators.isolation.cores import Lessee, leases_folder
from tunefront.evaluators.isolation.private_folder import living_file, living_files, private_folder


@contextmanager
def present(search: Lessee) -> Iterator[tuple[Lessee, ...]]:
    """Register a search until the context is left; yield the others of this user.

    Raises:
        MachineError: If the folder of the leases is not safe.
    """
    folder = private_folder(leases_folder() / "searches")
    written = [file.text for file in living_files(folder)]
    others = tuple(Lessee(**json.loads(text)) for text in written if text)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    with living_file(folder / name, json.dumps(asdict(search))):
        yield others
