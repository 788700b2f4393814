"""Ray for one search: local and private or a cluster's, and quiet either way."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefront.spaces import ClusterError

KNOCK_S = 10.0
OBJECT_STORE_BYTES = 150 * 2**20
QUIET_ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would end the search, not the trial
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What is set for Ray before it is imported."""


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Whatever this process prints goes to a file; Ray prints boxes, whatever it is told."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, target in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, target)
            os.close(descriptor)


@contextmanager
def ray_session(cores: int) -> Iterator[None]:
    """Ray for one search: `RAY_ADDRESS` where it is set, else local and private.

    Args:
        cores: Cores that trials may ask for.
    """
    os.environ.update({k: v for k, v in QUIET_ENVIRONMENT.items() if k not in os.environ})
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {}
    if not address:
        local = {"num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        if address:
            _knock(address)  # Ray itself takes minutes to give up
        ray.init(
            # Without a word Ray would join whatever cluster somebody left running here.
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    except (OSError, RuntimeError, ValueError) as error:
        if not address:
            raise
        raise ClusterError(
            f"RAY_ADDRESS={address}: no cluster answers there ({type(error).__name__}); start one "
            "with `ray start --head`, set RAY_AUTH_MODE=token where it asks for a token, or unset "
            "RAY_ADDRESS to run on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at `host:port`; other forms are Ray's to judge."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
