"""Models that stand on their own: merged into plain weights, or quantized, and compared with what they were made from.

    with replacing_folder(out) as folder:
        save_merged(method.merge(adapted), base, tokenizer, folder)

    with replacing_folder(out) as folder:
        quantizer("bnb-int8").quantize(merged, folder, rows)

A quantizer is a file in `quantizers/`, found by its name; a new one is a new file there.
"""

from components.export.card import model_card
from components.export.companions import copy_companions, end_of_turn
from components.export.logits import compare, logits, require_close
from components.export.merged import save_merged, stored_dtype
from components.export.quantizers import names, quantizer
from components.export.rows import chat_rows, token_rows
from components.export.size import require_smaller

__all__ = [
    "chat_rows",
    "compare",
    "copy_companions",
    "end_of_turn",
    "logits",
    "model_card",
    "names",
    "quantizer",
    "require_close",
    "require_smaller",
    "save_merged",
    "stored_dtype",
    "token_rows",
]
