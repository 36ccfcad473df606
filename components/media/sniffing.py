"""Which kind of file bytes are, by how they begin; which kind of medium a file is, by its name."""

import re
from pathlib import PurePath

SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".jp2"),
    "video": (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp"),
    "audio": (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac"),
}
"""Kind to the suffixes of its files."""

_BEGINNINGS = (
    (rb"\x89PNG\r\n\x1a\n", ".png"),
    (rb"\xff\xd8\xff", ".jpg"),
    (rb"GIF8[79]a", ".gif"),
    (rb"RIFF....WEBP", ".webp"),
    (rb"RIFF....WAVE", ".wav"),
    (rb"RIFF....AVI ", ".avi"),
    (rb"BM....\0\0\0\0", ".bmp"),
    (rb"II\*\0|MM\0\*", ".tiff"),
    (rb"\0\0\0\x0cjP  ", ".jp2"),
    (rb"....ftypavi[fs]", ".avif"),
    (rb"....ftyphei[cfx]", ".heic"),
    (rb"....ftypM4A", ".m4a"),
    (rb"....ftypqt  ", ".mov"),
    (rb"....(?:ftyp|moov|mdat)", ".mp4"),
    (rb"\x1a\x45\xdf\xa3.{0,64}webm", ".webm"),
    (rb"\x1a\x45\xdf\xa3", ".mkv"),
    (rb"ID3|\xff[\xfa\xfb\xf2\xf3]", ".mp3"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", ".aac"),
    (rb"fLaC", ".flac"),
    (rb"OggS", ".ogg"),
    (rb"P[1-6]\s", ".ppm"),
    (rb"FLV\x01", ".flv"),
)


def suffix_of(data: bytes) -> str:
    """Return the suffix that files like these bytes have, such as `.png`; "" for none that is known."""
    head = data[:128]
    return next((suffix for pattern, suffix in _BEGINNINGS if re.match(pattern, head, re.DOTALL)), "")


def kind_of(name: str) -> str | None:
    """Return the kind of a file by its name, or None for no medium."""
    suffix = PurePath(name).suffix.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)
