"""From canonical rows to tokens that a model can be trained on, with a loss mask that is right or refused.

The prompt text comes from the tokenizer's own chat template and from nowhere else. What is learned is every assistant
turn: all that the model has to generate behind the generation prompt, up to and with the tag that ends the turn.

    chat = ChatTemplate(load_tokenizer(folder), system="You are a helpful assistant.")
    batch = Encoder(chat, "sft", max_length=2048)([{"messages": messages}], source=["my.jsonl"], row=[0])
    batch.tokens, batch.refused

`chat.py` is where a row becomes a text with its learned characters, `encoder.py` where these become token rows.
"""

from components.templates.backend import FastTokenizerDiffersError
from components.templates.chat import ChatTemplate
from components.templates.continuation import continuation
from components.templates.dataset import tokenize
from components.templates.encoder import Encoded, Encoder, TokenBatch, encode
from components.templates.grounding import Grounding
from components.templates.loss_scale import STRATEGIES, parse, strategy
from components.templates.prompts import Prompts
from components.templates.refused import Refused
from components.templates.report import identity
from components.templates.sample import Sample

__all__ = [
    "STRATEGIES",
    "ChatTemplate",
    "Encoded",
    "Encoder",
    "FastTokenizerDiffersError",
    "Grounding",
    "Prompts",
    "Refused",
    "Sample",
    "TokenBatch",
    "continuation",
    "encode",
    "identity",
    "parse",
    "strategy",
    "tokenize",
]
