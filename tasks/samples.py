"""Samples for an export outside of the pipeline: rows of the run that a model comes from, or questions of our own."""

from pathlib import Path

from components import export, models
from components.config.groups.template import Template
from tasks.prompts import prompts, trained_with

QUESTIONS = (
    "Who are you?", "What is the capital of France?", "Name three colours.", "What is 17 plus 25?",
    "Write one sentence about the sea.", "Why is the sky blue?", "List the days of the week.",
    "Translate 'good morning' into German.", "Who wrote Hamlet?", "Give a synonym for 'quick'.",
    "Explain in one sentence what a computer does.", "What comes after the letter M?", "How many legs has a spider?",
    "Write a short poem about rain.", "你好，请介绍一下自己。", "What is the opposite of 'cold'?",
)  # fmt: skip
"""What models are compared on where there are no rows."""


def of_run(folder: Path, model: Path) -> export.Samples:
    """Return samples of the run folder `folder`, or our questions in the words of the chat template where there are no
    tokens of a run. `model` is asked as it was trained.

    Raises:
        ConfigError: the model has no tokenizer.
    """
    tokens = folder / "data/tokens"
    return export.samples(tokens) if (tokens / "train.arrow").is_file() else _of_questions(model)


def _of_questions(model: Path) -> export.Samples:
    tokenizer = models.load_tokenizer(model)
    settings = trained_with(model, Template())
    if not tokenizer.chat_template:
        settings = settings.model_copy(update={"use_chat_template": False})
    ids_of = prompts(settings)(tokenizer)
    ids = [ids_of([{"role": "user", "content": question}], None, {}, True) for question in QUESTIONS]
    return export.Samples(ids, ids, "questions of Martlet's own", [])
