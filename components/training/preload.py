"""Importing what training needs while something else still works."""

import importlib
import logging
import os
import threading

SWITCH = "TORCHDYNAMO_DISABLE"


def preload() -> threading.Thread:
    """Start importing torch, transformers' Trainer and peft in the background; `join` the thread to wait for it."""
    thread = threading.Thread(target=_import, name="preload", daemon=True)
    thread.start()
    return thread


def _import() -> None:
    # Threads that wait for each other without sleeping cost a busy machine nearly all of its speed: 2 cores with other
    # work trained at 300 tokens/s instead of 2,700. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # peft imports bitsandbytes, which asks torch to compile functions that we do not call; that alone would import the
    # whole of TorchInductor. The switch is torch's own, and is read just when a function is to be compiled.
    # It also regrets, aloud, that an optional package is missing.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        importlib.import_module("peft")
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before
    importlib.import_module("transformers.trainer")
