"""Media are what they seem: pictures that stand still and upright, sounds that are heard, files of the right name."""

from collections.abc import Iterator
from pathlib import PurePath

from components.data.checks import Batch, Context, Failure
from components.data.checks._media import inspected
from components.media import Facts, Medium, kind_of

MODES = ("RGB", "RGBA", "L", "LA", "P", "1")
"""Pillow's modes that become RGB without a loss that is seen."""
SMALLEST_SIDE = 14
"""Pixels of a side below which a picture shows next to nothing: a patch of most models."""
LARGEST_RATIO = 200
"""Ratio of the sides above which Qwen's models refuse a picture."""
LARGEST_PIXELS = 50_000_000
SILENT, CLIPPED = 0.001, 0.005
_SAME = ({".jpg", ".jpeg"}, {".tif", ".tiff"}, {".mp4", ".m4v", ".mov", ".m4a", ".3gp"}, {".mkv", ".webm"},
         {".ogg", ".opus"}, {".mp3", ".aac"}, {".bin", ""})  # fmt: skip
"""Suffixes of files that begin alike."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """The first oddity of each row is named."""
    named = -1
    for i, name, medium, facts in inspected(batch, context):
        problem = "" if facts.error or facts.missing or i == named else _problem(medium, facts)
        if problem:
            named = i
            yield Failure(i, f"{name}: {problem}", medium.path)


def _problem(medium: Medium, facts: Facts) -> str:
    suffix = PurePath(medium.path).suffix.lower()
    if kind_of(suffix and f"x{suffix}") and facts.suffix and not _same(suffix, facts.suffix):
        return f"is a {facts.suffix} file under the name {suffix}"
    if medium.kind == "audio":
        return _of_sound(facts)
    return _of_picture(facts) if medium.kind == "image" else _of_size(facts)


def _same(one: str, other: str) -> bool:
    return one == other or any({one, other} <= group for group in _SAME)


def _of_picture(facts: Facts) -> str:
    if facts.frames > 1:
        return f"moves ({facts.frames} pictures): only the first is seen"
    if facts.mode not in MODES:
        return f"is in the colours {facts.mode}, which become RGB"
    if facts.rotated:
        return "is turned, as its EXIF says: boxes are of the upright picture"
    return _of_size(facts)


def _of_size(facts: Facts) -> str:
    width, height = facts.width, facts.height
    if min(width, height) < SMALLEST_SIDE:
        return f"{width} x {height} pixels: shows next to nothing"
    if max(width, height) / min(width, height) >= LARGEST_RATIO:
        return f"{width} x {height} pixels: one side is {LARGEST_RATIO} times as long as the other, or more"
    return f"{width} x {height} pixels: slow to read" if width * height > LARGEST_PIXELS else ""


def _of_sound(facts: Facts) -> str:
    if facts.peak < SILENT:
        return "is silent"
    if facts.clipped > CLIPPED:
        return f"is clipped: {facts.clipped:.1%} of the samples are at the limit"
    return f"has {facts.channels} channels, of which the mean is heard" if facts.channels > 2 else ""
