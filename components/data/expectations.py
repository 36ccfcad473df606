"""The contract of the clean rows, held by Great Expectations: https://docs.greatexpectations.io.

Its import takes seconds, so it happens only when `validation.data_docs` asks for it. What each check promises is one
entry; a check that only warns promises nothing.
"""

import os
from collections.abc import Iterator
from typing import Any

from components.config.groups.validation import Validation
from components.data.checks import Row

COLUMNS = (
    "split",
    "source",
    "row",
    "roles",
    "first_role",
    "last_role",
    "questions",
    "answers",
    "shortest",
    "characters",
)
"""What the expectations see of a row: its turns counted, `shortest` the stripped length of its shortest turn,
`size` all characters."""


def expect(rows: list[Row], validation: Validation) -> list[dict[str, Any]]:
    """Hold the suite against clean rows; return `{name, success, observed}` for each expectation."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, by the import
    import great_expectations as gx
    import pandas as pd

    frame = pd.DataFrame([_described(row) for row in rows], columns=list(COLUMNS))
    named = dict(_suite(gx.expectations, validation))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("clean")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    for name, expectation in named.items():
        expectation.meta = {"name": name}  # the results come in an order of their own
    suite = gx.ExpectationSuite(name="clean rows", expectations=list(named.values()))
    outcomes: list[Any] = [result.to_json_dict() for result in batch.validate(suite).results]
    found = {outcome["expectation_config"]["meta"]["name"]: outcome for outcome in outcomes}
    return [
        {"name": name, "success": found[name]["success"], "observed": _observed(found[name]["result"])}
        for name in named
    ]


def _described(row: Row) -> tuple[Any, ...]:
    roles = [message["role"] for message in row.messages]
    lengths = [len(message["content"].strip()) for message in row.messages if message["role"] != "system"]
    turns = (" ".join(roles), *(roles[:1] or [None]), *(roles[-1:] or [None]))
    counts = (roles.count("user"), roles.count("assistant"), min(lengths, default=0))
    return (row.split, row.source, row.row, *turns, *counts, sum(len(m["content"]) for m in row.messages))


def _suite(gxe: Any, validation: Validation) -> Iterator[tuple[str, Any]]:
    """Expectations by the sentence that the report shows."""
    held = {name: getattr(validation, f"on_{name}") in ("drop", "block") for name in ("roles", "empty", "long")}
    columns = list(COLUMNS)
    yield "there are rows enough", gxe.ExpectTableRowCountToBeBetween(min_value=validation.min_rows)
    yield "the columns are the agreed ones", gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True)
    yield "every row belongs to a split", gxe.ExpectColumnValuesToBeInSet(column="split", value_set=["train", "val"])
    yield "every row knows its source", gxe.ExpectColumnValuesToNotBeNull(column="source")
    yield "every row knows its number", gxe.ExpectColumnValuesToBeBetween(column="row", min_value=1)
    if held["roles"]:
        turns = r"^(?:system )?user assistant(?: user assistant)*$"
        firsts, lasts = ["system", "user"], ["assistant"]
        yield "user and assistant alternate", gxe.ExpectColumnValuesToMatchRegex(column="roles", regex=turns)
        yield "a system or a user begins", gxe.ExpectColumnValuesToBeInSet(column="first_role", value_set=firsts)
        yield "the assistant has the last word", gxe.ExpectColumnValuesToBeInSet(column="last_role", value_set=lasts)
        yield (
            "every question has an answer",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="questions", column_B="answers"),
        )
    if held["empty"]:
        yield "no turn is blank", gxe.ExpectColumnValuesToBeBetween(column="shortest", min_value=1)
    if held["long"]:
        limit = validation.max_chars
        yield "no row is too long", gxe.ExpectColumnValuesToBeBetween(column="size", max_value=limit)


def _observed(result: Any) -> str:
    """What was found, in a few words."""
    if "observed_value" in result:
        value = result["observed_value"]
        return f"{len(value)} columns" if isinstance(value, list) else f"{value:,}"
    wrong, examples = result["unexpected_count"], result["partial_unexpected_list"]
    return f"{wrong:,} of {result['element_count']:,} rows differ" + (f", such as {examples[0]!r}" if wrong else "")
