"""The files by which sentence-transformers and vLLM know how the hidden states of a model become one vector."""

from pathlib import Path
from typing import Any

from components.files import write_json

MODULES = ("Transformer", "Pooling", "Normalize")
"""Modules of sentence-transformers, in the order in which a text passes them."""
FOLDERS = ("", "1_Pooling", "2_Normalize")


def save_pooling(model: Any, folder: Path, max_length: int) -> None:
    """Write that the vector is the hidden state of the last token, made to length 1; a text has up to `max_length`
    tokens."""
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (name, path) in enumerate(zip(MODULES, FOLDERS, strict=True))
        ],
    )
    for path in FOLDERS[1:]:
        (folder / path).mkdir()
    pooling = {"word_embedding_dimension": model.config.get_text_config().hidden_size, "pooling_mode_lasttoken": True}
    others = dict.fromkeys(("pooling_mode_cls_token", "pooling_mode_mean_tokens"), False)
    write_json(folder / "1_Pooling/config.json", pooling | others | {"include_prompt": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", "prompts": {}})
