"""Parameters of the data gate. Read by the stage `validate`."""

from typing import Literal

from components.config.fields import Group, Names, field

Action = Literal["ignore", "warn", "drop", "block"]


class Validation(Group):
    """The action of each check on the rows that fail: ignore (the check does not run), warn (rows are reported),
    drop (rows are left out) or block (the run stops). Checks run in this order."""

    on_schema: Action = field(
        "block", "rows in no known format or with values of the wrong type; such rows are always left out"
    )
    on_roles: Action = field("drop", "conversations whose turns do not alternate, or that end without an answer")
    on_empty: Action = field("drop", "rows with an empty prompt, an empty answer or no text")
    on_special: Action = field("drop", "rows whose text contains special tokens of the tokenizer, which forge a turn")
    on_encoding: Action = field(
        "warn", "rows with characters lost or garbled by a wrong encoding, or control characters"
    )
    on_long: Action = field("warn", "rows with more characters than --max_chars")
    on_truncated: Action = field("warn", "rows whose answer seems to be truncated")
    on_tools: Action = field("drop", "rows with tool calls that do not fit the tools they declare")
    on_pairs: Action = field("warn", "preference pairs that are equal, or of very different length")
    on_language: Action = field("warn", "rows in other languages than --languages")
    on_personal: Action = field("warn", "rows with e-mail addresses, phone, card or account numbers, keys or tokens")
    on_media_missing: Action = field("drop", "rows with pictures, videos or sounds that were not found")
    on_media_unreadable: Action = field("drop", "rows with media that cannot be read: damaged, or no such kind")
    on_media_count: Action = field("drop", "rows with media whose tags (<image> …) in the text are more or fewer")
    on_media_long: Action = field("warn", "rows above --max_audio_seconds or --max_video_seconds")
    on_media_quality: Action = field("warn", "rows with moving, turned or tiny pictures, silent or clipped sounds")
    on_boxes: Action = field("drop", "rows with boxes outside of their picture, or not as many as their tags")
    on_duplicate: Action = field("drop", "rows that repeat an earlier row exactly")
    on_leak: Action = field("drop", "training rows whose prompt also stands in the validation or evaluation data")
    on_near_duplicate: Action = field("warn", "rows with a similarity of at least --near_threshold to an earlier row")
    on_contradiction: Action = field("warn", "answers that one row prefers and another rejects, texts of two classes")
    on_similar_pictures: Action = field(
        "warn", "rows with a picture that looks like a validation row's, or an earlier one's with the same text"
    )
    on_labels: Action = field("warn", "unpaired preferences with too small a share of good or bad answers")
    max_chars: int = field(100_000, "most characters in a row; longer rows fail on_long", gt=0)
    max_pair_ratio: float = field(10.0, "largest ratio of the lengths of the answers in a preference pair", gt=1)
    languages: Names = field([], "languages that rows may be in, such as en zh; default: any")
    near_threshold: float = field(
        0.85, "similarity of near duplicates: Jaccard index of their eight-byte shingles", gt=0, le=1
    )
    max_audio_seconds: float | None = field(None, "longest sound, in seconds; default: any", gt=0)
    max_video_seconds: float | None = field(None, "longest video, in seconds; default: any", gt=0)
    min_label_share: float = field(0.1, "smallest share that good or bad answers may have", ge=0.0, le=0.5)
    min_rows: int = field(1, "fewest clean training rows; with fewer the gate closes", ge=1)
    max_dropped: float = field(0.5, "largest share of dropped rows; above it the gate closes", ge=0.0, le=1.0)
    data_docs: bool = field(False, "also check the clean rows against a Great Expectations suite (adds seconds)")
