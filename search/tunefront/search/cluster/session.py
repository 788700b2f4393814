"""A Ray connection for one search: a private local Ray or an existing cluster, without output."""

import logging
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tunefront.spaces import ClusterError

CONNECT_TIMEOUT_S = 10.0
OBJECT_STORE_BYTES = 150 * 2**20
WORKER_ENVIRONMENT: Mapping[str, str] = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
}
"""Environment variables by which Ray counts GPUs but leaves CUDA_VISIBLE_DEVICES as it is.

GPUs are chosen by leases, over all searches of a machine, and each process sees only those that it
has. Workers on the nodes of a cluster need them, too.
"""
QUIET_ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # the monitor would kill the search, not the trial
    "RAY_worker_niceness": "0",  # with Ray's 15, other processes would take the cores first
    # Ray would start a worker a core, and then others for Tune: 1.7 s of CPU time on two cores.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    **WORKER_ENVIRONMENT,
}
"""Environment variables set before Ray is imported, unless they are already set."""
LOOPBACK_ENVIRONMENT: Mapping[str, str] = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Environment variables that keep a local Ray unreachable from other machines.

With clusters disabled, Ray uses the loopback address as its node address, and only then do its
servers listen on it alone. Passing a loopback address does not work: Ray replaces it with an
external one.
"""
UMASK = "TUNEFRONT_UMASK"
"""Environment variable with the file mode mask that Ray's workers restore."""
_SECRET = re.compile(r"AWS_.*|.*_TOKEN|.*_SECRET.*|.*_KEY|.*PASSW.*|MLFLOW_TRACKING_URI")


def keep_files_private() -> None:
    """Let only this user read the files of this process and of Ray, its token among them.

    Workers inherit the mask and have to restore it; see `restore_umask`. A token that an earlier
    Ray created loses the permissions of others.
    """
    os.environ[UMASK] = f"{os.umask(0o077):o}"
    with suppress(OSError, RuntimeError):  # no such file, of another user, or no home folder
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
        if stat.S_ISREG(token.lstat().st_mode):
            token.chmod(0o600)


def restore_umask() -> None:
    """Restore the mask in a worker: what trials write has the modes that the user chose."""
    if written := os.environ.get(UMASK):
        os.umask(int(written, 8))


def drop_secrets() -> None:
    """Remove variables that look like secrets from this process's environment, once Ray is up.

    Tune passes those of AWS to its workers in a way that Ray's agent logs. Workers have all of them
    nevertheless: they inherit the environment of Ray's node, which was started before. Ray's own
    variables stay.
    """
    for name in list(os.environ):
        if _SECRET.fullmatch(name) and not name.startswith("RAY_"):
            del os.environ[name]


@contextmanager
def ray_session(cores: int, gpus: int | None = None, folder: Path | None = None) -> Iterator[None]:
    """Connect to the cluster at `RAY_ADDRESS` if set, else start a private local Ray.

    Args:
        cores: Number of cores of a local Ray.
        gpus: Number of GPUs of a local Ray; those that Ray detects if None.
        folder: Folder for the files of a local Ray; Ray's default if None.

    Raises:
        ClusterError: If no cluster replies at `RAY_ADDRESS`.
    """
    address = os.environ.get("RAY_ADDRESS")
    wanted = QUIET_ENVIRONMENT if address else {**QUIET_ENVIRONMENT, **LOOPBACK_ENVIRONMENT}
    os.environ.update({k: v for k, v in wanted.items() if k not in os.environ})
    import ray

    local: dict[str, Any] = {}
    if address:
        local = {"runtime_env": {"env_vars": dict(WORKER_ENVIRONMENT)}}
    else:
        _without_monitors()
        local = {"num_cpus": cores, "num_gpus": gpus, "object_store_memory": OBJECT_STORE_BYTES}
        local |= {"_temp_dir": str(folder)} if folder is not None else {}
    try:
        if address:
            _check_reachable(address)  # Ray itself takes minutes to give up
        ray.init(
            # Without an address, Ray would join any cluster already running on this machine.
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
            f"RAY_ADDRESS={address}: no cluster responds there ({type(error).__name__}); start one "
            "with `ray start --head`, set RAY_AUTH_MODE=token if it requires a token, or unset "
            "RAY_ADDRESS to run on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _without_monitors() -> None:
    """Keep a local Ray from starting its autoscaler, its log monitor and its dashboard server.

    A local Ray does not scale, its logs are not shown, and its dashboard is off, but the server
    runs nevertheless. A start takes 2.2 s of CPU time instead of 4.8 s. `ray.init` has no option
    for it.
    """
    from ray._private.node import Node

    for name in ("start_monitor", "start_log_monitor", "start_api_server"):
        if hasattr(Node, name):
            setattr(Node, name, lambda node, **options: None)


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at `host:port`; other forms of addresses are not checked."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
