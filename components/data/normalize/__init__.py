"""Normalisation that the formats share: typed values, messages of any dialect, questions, carried columns."""

from components.data.normalize.carried import CARRIED, CARRIED_MEDIA, carry, extra
from components.data.normalize.exchange import (
    SYSTEMS,
    question_messages,
    refuse_media,
    split_answer,
    split_pair,
    system_of,
)
from components.data.normalize.messages import Media, messages_of
from components.data.normalize.values import describe, from_json, key_list, text

__all__ = [
    "CARRIED",
    "CARRIED_MEDIA",
    "SYSTEMS",
    "Media",
    "carry",
    "describe",
    "extra",
    "from_json",
    "key_list",
    "messages_of",
    "question_messages",
    "refuse_media",
    "split_answer",
    "split_pair",
    "system_of",
    "text",
]
