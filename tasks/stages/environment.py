"""The environment of every process: no telemetry, quiet libraries, OpenMP threads that soon sleep while they wait."""

import logging
import os
import warnings

QUIET_LIBRARIES = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
}

SLEEPING_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
"""OpenMP's threads spin for some microseconds before they sleep. By default they spin for milliseconds, and beside a
busy process a step takes 20 times as long; threads that sleep at once wake up late after each of a thousand operations,
and two trained a small model no faster than one."""
LOOPBACK_HOSTS = "127.0.0.1,localhost"


def prepare_environment() -> None:
    """Set the variables in this process's environment, which children inherit. A value that the user set wins.

    Requests to loopback go past any proxy: a proxy would receive the prompts and could not reach the server.
    """
    for name, value in (QUIET_LIBRARIES | SLEEPING_THREADS).items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)  # meant for the authors of libraries
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # one line per layer and forward pass
    for name in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(name, "")
        if LOOPBACK_HOSTS not in hosts:
            os.environ[name] = f"{hosts},{LOOPBACK_HOSTS}".lstrip(",")
