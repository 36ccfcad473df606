"""What every process here starts with: nothing calls home, libraries are quiet, threads wait patiently."""

import logging
import os
import warnings

QUIET = {
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


PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""OpenMP's threads else wait for each other by spinning, and beside a busy process a step takes 20 times as long."""
LOOPBACK = "127.0.0.1,localhost"


def prepare_environment() -> None:
    """Put the switches into this process's environment, from where children inherit them. A user's own value wins.

    What talks to loopback must not do so through a proxy, which would get the questions and could not answer them.
    """
    for name, value in (QUIET | PATIENT).items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)  # for the authors of libraries, not for their users
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # one line per layer and forward pass
    for name in ("NO_PROXY", "no_proxy"):
        given = os.environ.get(name, "")
        if LOOPBACK not in given:
            os.environ[name] = f"{given},{LOOPBACK}".lstrip(",")
