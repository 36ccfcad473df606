"""From chats to tokens that a model can be trained on, with a loss mask that is right or refused.

The prompt text comes from the tokenizer's own chat template and from nowhere else. What is learned is every
assistant turn: all that the model would have to generate after its generation prompt, up to and with the tag that
ends the turn.

    chat = ChatTemplate(load_tokenizer(folder), system="You are a helpful assistant.")
    for outcome in encode([{"messages": messages}], chat):
        ...
"""

from components.templates.backend import FastTokenizerDiffersError
from components.templates.chat import ChatTemplate, Refused, Sample
from components.templates.dataset import tokenize
from components.templates.loss_scale import strategy
from components.templates.report import identity
from components.templates.tokens import Encoded, Encoder, encode

__all__ = [
    "ChatTemplate",
    "Encoded",
    "Encoder",
    "FastTokenizerDiffersError",
    "Refused",
    "Sample",
    "encode",
    "identity",
    "strategy",
    "tokenize",
]
