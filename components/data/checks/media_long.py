"""No sound is longer than max_audio_seconds, and no video longer than max_video_seconds."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.data.checks._media import inspected


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """A video of single pictures has no length."""
    limits = {"audio": context.validation.max_audio_seconds, "video": context.validation.max_video_seconds}
    for i, name, medium, facts in inspected(batch, context):
        limit = limits.get(medium.kind)
        if limit is not None and facts.seconds > limit:
            yield Failure(i, f"{name}: {facts.seconds:,.1f} seconds, more than {limit:,g}", medium.path)
