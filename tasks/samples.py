"""Samples for an export outside of the pipeline: rows of --dataset, rows of the run that a model comes from, or
questions of our own."""

from pathlib import Path

from components import export, models
from components.config import Params
from components.config.groups.method import Method
from components.config.groups.model import Model
from components.config.groups.multimodal import Multimodal
from components.config.groups.template import Template
from tasks.direct import make_data
from tasks.looking.folder import folder, report_kept
from tasks.prompts import prompts, trained_with
from tasks.stages.media_rows import with_media

QUESTIONS = (
    "Who are you?", "What is the capital of France?", "Name three colours.", "What is 17 plus 25?",
    "Write one sentence about the sea.", "Why is the sky blue?", "List the days of the week.",
    "Translate 'good morning' into German.", "Who wrote Hamlet?", "Give a synonym for 'quick'.",
    "Explain in one sentence what a computer does.", "What comes after the letter M?", "How many legs has a spider?",
    "Write a short poem about rain.", "你好，请介绍一下自己。", "What is the opposite of 'cold'?",
)  # fmt: skip
"""What models are compared on where there are no rows."""
HELD_OUT = 0.1
"""Share of the rows of --dataset that models are compared on, and not calibrated."""


def of_datasets(params: Params, model: Path, calibration_rows: int) -> export.Samples:
    """Return samples of --dataset, checked and tokenised as for a training of the model folder `model`.

    Raises:
        DataGateError: the rows do not pass the data gate.
    """
    held_out = {} if params.data.val_dataset else {"split_dataset_ratio": HELD_OUT}
    changes = {
        "model": Model(model=str(model.resolve()), trust_remote_code=params.model.trust_remote_code),
        "data": params.data.model_copy(update=held_out),
        "method": Method(),
    }
    with folder(params.model_copy(update=changes), Path.cwd()) as (settings, paths), report_kept(paths):
        make_data(settings, paths)
        drawn = export.samples(paths.tokens, calibration_rows, settings.template.max_length)
        return with_media(drawn, paths.tokens, paths.media, model, settings.multimodal)


def of_run(
    run: Path, model: Path, calibration_rows: int = 0, max_length: int = 0, settings: Multimodal | None = None
) -> export.Samples:
    """Return samples of the run folder `run`, or our questions where there are no tokens of a run. `model` is asked as
    it was trained, and its media are read by `settings`.

    Raises:
        ConfigError: the model has no tokenizer.
    """
    tokens = run / "data/tokens"
    if (tokens / "train.arrow").is_file():
        drawn = export.samples(tokens, calibration_rows, max_length)
        return with_media(drawn, tokens, run / "data/media", model, settings or Multimodal())
    return _of_questions(model)


def _of_questions(model: Path) -> export.Samples:
    tokenizer = models.load_tokenizer(model)
    settings = trained_with(model, Template())
    if not tokenizer.chat_template:
        settings = settings.model_copy(update={"use_chat_template": False})
    ids_of = prompts(settings)(tokenizer)
    ids = [ids_of([{"role": "user", "content": question}], None, {}, True) for question in QUESTIONS]
    return export.Samples(ids, ids, "questions of Martlet's own", [])
