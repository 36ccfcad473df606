"""Supervised fine-tuning: transformers' Trainer over tokens that are ready, with exact resume and honest numbers.

    outcome = train(model, tokenizer, tokens, params.train, checkpoints, save, arguments, on_progress)
    write_reports(outcome, reports)

The loss is normalised by learnable tokens over the whole optimizer step, so batch size times accumulation is all that
counts, whether rows are padded, packed, joined or grouped by length. A checkpoint is complete or absent, and a run that
was killed ends with the weights it would have had.
"""

from components.training.checkpoints import fingerprint, tidy
from components.training.checks import check_saved
from components.training.packing import pack
from components.training.preload import preload
from components.training.report import write_reports
from components.training.rows import Rows, tokens_hash
from components.training.run import Outcome, settled, train
from components.training.stream import Chunk, State, Stream

__all__ = [
    "Chunk",
    "Outcome",
    "Rows",
    "State",
    "Stream",
    "check_saved",
    "fingerprint",
    "pack",
    "preload",
    "settled",
    "tidy",
    "tokens_hash",
    "train",
    "write_reports",
]
