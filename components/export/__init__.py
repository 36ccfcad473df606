"""Export: merged and quantized models as folders that other tools load, compared with the models they come from.

    with replacing_folder(out) as folder:
        save_merged(tuner.merge(adapted), base, tokenizer, folder)

    with replacing_folder(out) as folder:
        QUANTIZERS.load("bnb-int8").quantize(merged, folder, rows)

A new quantizer is a new file in `quantizers/`.
"""

from components.export.card import model_card
from components.export.logits import compare, logits, require_close
from components.export.merged import end_of_turn, save_merged, stored_dtype
from components.export.pooling import save_pooling
from components.export.quantizers import QUANTIZERS, Quantizer
from components.export.rows import chat_rows, token_rows
from components.export.size import require_smaller

__all__ = [
    "QUANTIZERS",
    "Quantizer",
    "chat_rows",
    "compare",
    "end_of_turn",
    "logits",
    "model_card",
    "require_close",
    "require_smaller",
    "save_merged",
    "save_pooling",
    "stored_dtype",
    "token_rows",
]
