"""Export: merged and quantized models as folders that other tools load, compared with the models they come from.

    with replacing_folder(out) as folder:
        save_merged(tuner.merge(adapted), base, tokenizer, folder)

    with replacing_folder(out) as folder:
        QUANTIZERS.load("bnb-int8").quantize(merged, folder, rows, params.quantize)

A new quantizer is a new file in `quantizers/`.
"""

from components.export.answers import Answers, agreement, following, greedy_answers, require_following
from components.export.card import model_card, quantized_card
from components.export.logits import compare, logits, require_close
from components.export.merged import end_of_turn, save_merged, save_stop_tokens, stored_dtype
from components.export.ollama import modelfile
from components.export.pooling import save_pooling
from components.export.quantizers import METHODS, QUANTIZERS, Quantizer, calibrates, require_rows, variant_of
from components.export.quantizers import problems as quantizer_problems
from components.export.rows import Samples, prompt_rows, samples, token_rows
from components.export.size import quantized_size, size

__all__ = [
    "METHODS",
    "QUANTIZERS",
    "Answers",
    "Quantizer",
    "Samples",
    "agreement",
    "calibrates",
    "compare",
    "end_of_turn",
    "following",
    "greedy_answers",
    "logits",
    "model_card",
    "modelfile",
    "prompt_rows",
    "quantized_card",
    "quantized_size",
    "quantizer_problems",
    "require_close",
    "require_following",
    "require_rows",
    "samples",
    "save_merged",
    "save_pooling",
    "save_stop_tokens",
    "size",
    "stored_dtype",
    "token_rows",
    "variant_of",
]
