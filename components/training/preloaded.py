"""Importing this file imports torch, transformers' Trainer and peft: for a server from which processes are forked."""

import gc

from components.training.preload import preload

preload().join()
gc.freeze()  # what was imported is no garbage, and stays in memory that the processes share
