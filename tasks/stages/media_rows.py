"""A row with media among those that two models are compared on."""

from pathlib import Path

from components import export, media
from components.config.groups.multimodal import Multimodal
from components.tokens import TokenRows


def with_media(
    samples: export.Samples, tokens: Path, folder: Path, model: Path, settings: Multimodal
) -> export.Samples:
    """Return samples with a row that has media among them, where the token files have some that are still there.

    Args:
        tokens: the folder of token files that the samples are from.
        folder: the folder of their media whose path is relative.
        model: a model folder with the processor.
        settings: by which media are read.

    Raises:
        ConfigError: the processor cannot be loaded.
    """
    rows = TokenRows(tokens / "train.arrow")
    if not rows.has_media or (row := media.first_with_media(rows)) is None:
        return samples
    if (processor := media.load_processor(model, settings, folder)) is None:
        return samples
    try:
        inputs = media.model_inputs(row, processor)
    except media.MediaError:  # whoever has removed the pictures since may still export
        return samples
    return samples._replace(rows=[*samples.rows, inputs])
