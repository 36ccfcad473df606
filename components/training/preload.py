"""Importing what training needs while something else still works."""

import importlib
import os
import threading

SWITCH = "TORCHDYNAMO_DISABLE"


def preload() -> threading.Thread:
    """Start importing torch, transformers' Trainer and peft in the background; `join` the thread to wait for it."""
    thread = threading.Thread(target=_import, name="preload", daemon=True)
    thread.start()
    return thread


def _import() -> None:
    # peft imports bitsandbytes, which asks torch to compile functions that we do not call; that alone would import the
    # whole of TorchInductor. The switch is torch's own, and is read just when a function is to be compiled.
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
