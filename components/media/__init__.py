"""Media: pictures, videos and sounds of rows, read into what a model's processor takes.

A row refers to its media in the columns `images`, `videos` and `audios`, and a tag in a message's text (`<image>`,
`<video>`, `<audio>`) says where each stands. A reference is `{"path", "sha256"}`: the path of a file that is not ours,
or the name of one in the folder that `fetch` keeps. What is read is what was hashed, or an error.
"""

from components.media.audio import read_audio
from components.media.errors import GoneError, MediaError
from components.media.facts import Facts
from components.media.image import read_image
from components.media.inspecting import Inspector
from components.media.joining import joined
from components.media.kinds import (
    COLUMNS,
    FOLDER,
    KINDS,
    TAG,
    TAGS,
    Medium,
    in_parts,
    kinds_in,
    media_of,
    tags_in,
    with_tags,
)
from components.media.limits import Limits
from components.media.loading import load_processor, processor_sha256, takes_media
from components.media.probe import features_of, first_with_media, media_in, model_inputs
from components.media.processor import MediaProcessor, Processed
from components.media.prompt import MediaPrompt
from components.media.reading import content, read
from components.media.sniffing import SUFFIXES, kind_of, suffix_of
from components.media.video import Video, read_video

__all__ = [
    "COLUMNS",
    "FOLDER",
    "KINDS",
    "SUFFIXES",
    "TAG",
    "TAGS",
    "Facts",
    "GoneError",
    "Inspector",
    "Limits",
    "MediaError",
    "MediaProcessor",
    "MediaPrompt",
    "Medium",
    "Processed",
    "Video",
    "content",
    "features_of",
    "first_with_media",
    "in_parts",
    "joined",
    "kind_of",
    "kinds_in",
    "load_processor",
    "media_in",
    "media_of",
    "model_inputs",
    "processor_sha256",
    "read",
    "read_audio",
    "read_image",
    "read_video",
    "suffix_of",
    "tags_in",
    "takes_media",
    "with_tags",
]
