"""A model folder's processor, from its files."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import ConfigError
from components.files import sha256, sha256_of
from components.media.limits import Limits
from components.media.processor import MediaProcessor

if TYPE_CHECKING:
    from components.config.groups.multimodal import Multimodal

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


def takes_media(folder: Path) -> bool:
    """Return whether a model folder has a processor of media."""
    return any((folder / name).is_file() for name in PROCESSOR_FILES)


def processor_sha256(folder: Path) -> str | None:
    """Return one hash over the files of a model folder's processor, None for a model of texts alone."""
    files = [file for name in PROCESSOR_FILES if (file := folder / name).is_file()]
    return sha256_of([[file.name, sha256(file)] for file in files]) if files else None


def load_processor(
    folder: Path, settings: "Multimodal", media: Path, limits: Limits | None = None
) -> MediaProcessor | None:
    """Return the processor of a model folder, None for a model of texts alone.

    Args:
        media: the folder of media whose path is relative.
        limits: of the media of one text; None for none.

    Raises:
        ConfigError: the processor cannot be loaded.
    """
    if not takes_media(folder):
        return None
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ConfigError(f"{folder}: {_first_line(error)}; pip install 'martlet[multimodal]'") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder}: the processor cannot be loaded: {_first_line(error)}") from error
    if getattr(processor, "tokenizer", None) is None:
        raise ConfigError(f"{folder}: the processor has no tokenizer; its preprocessor_config.json is incomplete")
    return MediaProcessor(processor, settings, media, limits)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
