"""A model's own processor: what it makes of media, and how it writes them into a text."""

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.errors import MartletError
from components.media.errors import MediaError
from components.media.expansion import Spans, media_spans
from components.media.image import ORIENTATION, TURNED, open_image
from components.media.kinds import KINDS, Medium
from components.media.limits import Limits
from components.media.reading import DEFAULT_SAMPLING_RATE, content, read

if TYPE_CHECKING:
    from torch import Tensor

    from components.config.groups.multimodal import Multimodal

PER_TOKEN = {
    "mm_token_type_ids": "create_mm_token_type_ids",
    "token_type_ids": "create_mm_token_type_ids",
    "moe_mm_token_type_ids": "create_moe_mm_token_type_ids",
}
"""What a processor says of each token, and its method that says so of any ids."""
OPTIONS: dict[str, dict[str, Any]] = {
    "ChameleonProcessor": {"return_for_text_completion": True},  # or it writes a token of its own behind the text
    "GotOcr2Processor": {"multi_page": True},  # or it takes several pictures for several texts
}
"""What a class of processors must be told to take a text as it is."""
UNFIT = {
    "Emu3Processor": "writes a beginning of the text that the chat template does not write",
    "IdeficsProcessor": "says of each token which pictures it sees",
    "Kosmos2Processor": "puts pictures where the chat template does not write them",
    "Kosmos2_5Processor": "puts pictures where the chat template does not write them",
    "MllamaProcessor": "says of each token which pictures it sees",
    "PaliGemmaProcessor": "writes an end of the text that the chat template does not write",
}
"""Classes of processors whose texts or features are no training data here, and what each does."""
NO_FEATURES = frozenset(("input_ids", "attention_mask", "labels", "text_replacement_offsets", *PER_TOKEN))
PARTS = {
    "image": ("image_processor",),
    "video": ("video_processor",),
    "audio": ("feature_extractor", "audio_processor"),
}
"""Kind of medium to the part of a processor that takes it."""
OTHER_TOKENS = {
    "image": ("boi_token", "start_image_token", "image_start_token"),
    "video": ("start_video_token", "video_start_token"),
    "audio": ("boa_token", "audio_bos_token", "audio_start_token"),
}
"""Attributes of a processor with the token that stands for a medium in a text, where it is not `image_token` and so on
(Gemma 3's texts have `boi_token`)."""

_CALLING = threading.Lock()
"""What a processor writes is read from its tokenizer, which threads share."""


class Processed(NamedTuple):
    """A text with its media, as a processor hands them to the model.

    Attributes:
        text: with as many tokens for each medium as the model sees of it.
        ids: of the text.
        spans: the characters [start, end) of `text` that stand for each medium; None where it cannot be told.
        features: the tensors of all media by name (`pixel_values`, …), as a batch of one row.
    """

    text: str
    ids: list[int]
    spans: Spans | None
    features: "dict[str, Tensor]"


class MediaProcessor:
    """A model's processor, with the settings by which media are read before.

    Args:
        processor: of transformers, with a tokenizer.
        settings: sizes and frames.
        folder: of media whose path is relative.
        limits: of the media of one text; None for none.
    """

    def __init__(self, processor: Any, settings: "Multimodal", folder: Path, limits: Limits | None = None) -> None:
        self.processor, self.settings, self.folder, self.limits = processor, settings, folder, limits
        self.tokenizer = processor.tokenizer
        self.tokenizer.chat_template = getattr(processor, "chat_template", None) or self.tokenizer.chat_template
        self._recording = _recording(processor.tokenizer)
        processor.tokenizer = self._recording
        self._options = {
            "return_tensors": "pt",
            "add_special_tokens": False,
            **OPTIONS.get(self.name, {}),
            **({"return_text_replacement_offsets": True} if _says_spans(processor) else {}),
        }

    @property
    def kinds(self) -> list[str]:
        """The kinds of media that the model takes."""
        return [kind for kind in KINDS if self._part(kind) is not None]

    @property
    def sampling_rate(self) -> int:
        """Samples a second of the sounds that the model takes."""
        return int(getattr(self._part("audio"), "sampling_rate", DEFAULT_SAMPLING_RATE))

    def _part(self, kind: str) -> Any:
        parts = (getattr(self.processor, name, None) for name in PARTS[kind])
        return next((part for part in parts if part is not None), None)

    @property
    def name(self) -> str:
        """The name of the processor's class."""
        return type(self.processor).__name__

    def tokens(self, kind: str) -> list[str]:
        """Return the tokens that may stand for a medium of a kind in a text, the likeliest first."""
        names = (f"{kind}_token", *OTHER_TOKENS[kind])
        values = (getattr(self.processor, name, None) for name in names)
        return [token for token in values if isinstance(token, str) and token]

    def __call__(self, text: str, media: Sequence[Medium]) -> Processed:
        """Return a text and its media as the model gets them.

        Args:
            text: with one placeholder for each medium.
            media: of each kind in the order of the placeholders.

        Raises:
            MediaError: a medium cannot be read, or the processor does not take it.
        """
        if self.limits:
            self.limits.require(media, self.folder, self.settings)
        inputs = {kind: [self._read(medium) for medium in media if medium.kind == kind] for kind in KINDS}
        try:
            with _CALLING:
                output = self.processor(text=[text], **_arguments(inputs, self.sampling_rate), **self._options)
                whole = self._recording.last_text
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError, StopIteration) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise MediaError(f"{self.name} does not take this row's media: {reason}") from error
        ids = output["input_ids"][0].tolist()
        features = {
            name: value for name, value in output.items() if name not in NO_FEATURES and hasattr(value, "shape")
        }
        if media and not features:
            raise MartletError(f"{self.name} makes no features of {media[0].kind}s: its files are incomplete")
        spans = media_spans(text, output, whole, media, self.tokens) if media else []
        return Processed(whole, ids, spans, features)

    def of_text(self, text: str, media: Sequence[Medium]) -> list[Medium]:
        """Return the media that a text has placeholders for: of each kind the first ones."""
        counts = {kind: max((text.count(token) for token in self.tokens(kind)), default=0) for kind in KINDS}
        by_kind = [[medium for medium in media if medium.kind == kind][: counts[kind]] for kind in KINDS]
        return [medium for group in by_kind for medium in group]

    def features(self, media: Sequence[Medium], placeholders: Sequence[str]) -> "dict[str, Tensor]":
        """Return the features of media alone.

        Args:
            placeholders: what stands for each medium in a text.

        Raises:
            MediaError: as `__call__`.
        """
        return self("".join(placeholders), media).features

    def picture_size(self, picture: Medium) -> tuple[int, int]:
        """Return the width and height of a picture's file, upright as its EXIF says.

        Raises:
            MediaError: the file cannot be read.
        """
        image = open_image(content(picture, self.folder))
        width, height = image.size
        return (height, width) if image.getexif().get(ORIENTATION, 1) in TURNED else (width, height)

    def size_seen(self, picture: Medium) -> tuple[int, int]:
        """Return the width and height of a picture after the processor's resize; of a processor that does not say them,
        before it.

        Raises:
            MediaError: as `__call__`.
        """
        grid = self.features([picture], self.tokens("image")[:1]).get("image_grid_thw")
        if grid is None:
            return self._read(picture).size
        _, rows, columns = grid[0].tolist()
        side = self._part("image").patch_size
        return columns * side, rows * side

    def types(self, ids: Sequence[Sequence[int]], learned: Sequence[Sequence[bool]]) -> dict[str, list[list[int]]]:
        """Return what the processor says of each token beside its id, by name: 0 for a text's, 1 for a picture's, 2 for
        a video's, 3 for a sound's; of a processor that tells no kinds apart, 1 for what is learned.

        Args:
            ids: of each row.
            learned: whether each token is.
        """
        names = [name for name in PER_TOKEN if name in self.processor.model_input_names]
        returns_kinds = getattr(self.processor, "return_mm_token_type_ids", False)
        if "mm_token_type_ids" in names:
            names = [name for name in names if name != "token_type_ids"]
        elif returns_kinds and "token_type_ids" not in names:
            names = ["mm_token_type_ids", *names]
        tells_kinds = returns_kinds or "token_type_ids" not in names
        values: dict[str, list[list[int]]] = {}
        for name in names:
            of_row = getattr(self.processor, PER_TOKEN[name])
            values[name] = (
                [of_row([list(row)])[0] for row in ids]
                if tells_kinds
                else [[int(token) for token in row] for row in learned]
            )
        return values

    def _read(self, medium: Medium) -> Any:
        if why := UNFIT.get(self.name):
            raise MediaError(f"{self.name} {why}; leave the media out")
        if self._part(medium.kind) is None:
            takes = " and ".join(f"{kind}s" for kind in self.kinds) or "nothing but text"
            raise MediaError(f"the model takes {takes}, no {medium.kind}s")
        return read(medium, self.folder, self.settings, self.sampling_rate)


def _arguments(inputs: dict[str, list[Any]], sampling_rate: int) -> dict[str, Any]:
    """Return the media as arguments of a processor; videos come with their numbers of frames, so that a processor that
    writes times writes those of the video."""
    arguments: dict[str, Any] = {}
    if inputs["image"]:
        arguments["images"] = [inputs["image"]]
    if inputs["video"]:
        from transformers.video_utils import VideoMetadata

        videos = inputs["video"]
        arguments["videos"] = [video.frames for video in videos]
        metadata = [
            VideoMetadata(
                total_num_frames=video.total,
                fps=video.fps,
                width=video.frames.shape[2],
                height=video.frames.shape[1],
                duration=video.seconds,
                frames_indices=video.indices,
            )
            for video in videos
        ]
        # Some processors read the metadata back from what the video's part of them returns.
        arguments["videos_kwargs"] = {"video_metadata": metadata, "do_sample_frames": False, "return_metadata": True}
    if inputs["audio"]:
        arguments["audio"] = inputs["audio"]
        arguments["audio_kwargs"] = {"sampling_rate": sampling_rate}
    return arguments


def _says_spans(processor: Any) -> bool:
    """Return whether a processor is called by transformers' common code, which says what it has replaced by what."""
    from transformers import processing_utils as common

    return type(processor).__call__ in (common.ProcessorMixin.__call__, common.OmniModalProcessorMixin.__call__)


def _recording(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer that keeps the last text it was called with as `last_text`: what a processor writes
    for media is nowhere else."""

    def call(self: Any, text: Any = None, *args: Any, **options: Any) -> Any:
        self.last_text = text if isinstance(text, str) else text[0]
        return type(tokenizer).__call__(self, text, *args, **options)

    recording = copy.copy(tokenizer)
    recording.__class__ = type(type(tokenizer).__name__, (type(tokenizer),), {"__call__": call})
    recording.last_text = ""
    return recording
