"""Ray for one search: local and private or a cluster's, and quiet either way."""

import logging
import os
import socket
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
    "RAY_worker_niceness": "0",  # Ray's 15 would let everybody else go before what is measured
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What is set for Ray before it is imported."""
LOOPBACK_ENVIRONMENT: Mapping[str, str] = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""What keeps a local Ray to this machine: without clusters its node is the loopback, and only then
do its servers listen there alone; it turns a loopback that it is told into an outer address."""


@contextmanager
def ray_session(cores: int, gpus: int | None = None, folder: Path | None = None) -> Iterator[None]:
    """Ray for one search: `RAY_ADDRESS` where it is set, else local and private.

    Args:
        cores: Cores that trials may ask for.
        gpus: GPUs that trials may ask for; those that Ray finds where None.
        folder: Where a local Ray keeps its files; its own choice where None.

    Raises:
        ClusterError: If nothing answers at `RAY_ADDRESS`.
    """
    address = os.environ.get("RAY_ADDRESS")
    wanted = QUIET_ENVIRONMENT if address else {**QUIET_ENVIRONMENT, **LOOPBACK_ENVIRONMENT}
    os.environ.update({k: v for k, v in wanted.items() if k not in os.environ})
    import ray

    local: dict[str, Any] = {}
    if not address:
        local = {"num_cpus": cores, "num_gpus": gpus, "object_store_memory": OBJECT_STORE_BYTES}
        local |= {"_temp_dir": str(folder)} if folder is not None else {}
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
