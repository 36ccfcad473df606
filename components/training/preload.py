"""The import of torch, transformers and peft in the background, while the data are prepared."""

import importlib
import os
import threading

NO_COMPILE_VARIABLE = "TORCHDYNAMO_DISABLE"


def preload() -> threading.Thread:
    """Start importing torch, transformers' Trainer and peft in the background; `join` the thread to wait for it."""
    thread = threading.Thread(target=_import, name="preload", daemon=True)
    thread.start()
    return thread


def _import() -> None:
    # peft imports bitsandbytes, whose `torch.compile` decorators would import the whole of TorchInductor, for functions
    # that we do not call. torch reads the variable each time that a function is to be compiled.
    before = os.environ.get(NO_COMPILE_VARIABLE)
    os.environ[NO_COMPILE_VARIABLE] = "1"
    try:
        importlib.import_module("peft")
    finally:
        if before is None:
            del os.environ[NO_COMPILE_VARIABLE]
        else:
            os.environ[NO_COMPILE_VARIABLE] = before
    importlib.import_module("transformers.trainer")
