"""When the data gate closes. Read by the stage `validate`."""

from typing import Literal

from components.config.fields import Group, field

Action = Literal["ignore", "warn", "drop", "block"]


class Validation(Group):
    """What happens to a row that fails a check: counted, named in the report, left out, or the run stops."""

    on_schema: Action = field(
        "block", "rows in no known format or with values of the wrong type; they are left out in any case"
    )
    on_roles: Action = field("drop", "conversations whose turns do not alternate, or that end without an answer")
    on_empty: Action = field("drop", "rows with an empty prompt or an empty answer")
    on_duplicate: Action = field("drop", "rows that repeat an earlier row exactly")
    on_leak: Action = field("drop", "training rows whose prompt also stands in the validation or evaluation data")
    on_long: Action = field("warn", "rows with more characters than --max_chars")
    max_chars: int = field(100_000, "characters in one row beyond which it counts as too long", gt=0)
    min_rows: int = field(1, "fewest training rows that may be left", ge=1)
    max_dropped: float = field(0.5, "largest share of rows that may be dropped before the gate closes", ge=0.0, le=1.0)
    data_docs: bool = field(False, "also check the clean rows against a Great Expectations suite (adds seconds)")
