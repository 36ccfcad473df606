"""The contract of the clean rows, held by Great Expectations: https://docs.greatexpectations.io.

Its import takes seconds, so it happens only when `validation.data_docs` asks for it. The clean rows go through the
checks a second time, and what each check promises is one expectation, which holds if no row is named: it proves that
what was written is what the gate let through. A check that only warns promises nothing.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.data.canonical import SPLITS
from components.data.checks import Batch, Roster, checks, promise
from components.data.findings import Findings
from components.data.gate import Verdict, examine
from components.data.seen import look
from components.rows import from_arrow

PLACE = ["split", "source", "row"]


def hold_expectations(verdict: Verdict, docs: Path) -> None:
    """Hold the contract of named expectations against the clean rows; a failed one closes the gate.

    Args:
        docs: a folder for Great Expectations' Data Docs.
    """
    verdict.expectations = _expect(verdict, docs)
    failed = [f"'{e['name']}' does not hold ({e['observed']})" for e in verdict.expectations if not e["success"]]
    verdict.add("expectations", "block", len(failed), f"expectations: {', '.join(failed)}" if failed else "")


def _expect(verdict: Verdict, docs: Path) -> list[dict[str, Any]]:
    """Hold the suite against the clean rows of a verdict; return `{name, success, observed}` for each expectation.

    Args:
        docs: a folder for Great Expectations' own pages on it, the Data Docs.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, by the import
    import great_expectations as gx

    held = [name for name in checks() if verdict.context.action(name) in ("drop", "block") or name == "schema"]
    named = dict(_suite(gx.expectations, held, verdict.context.validation.min_rows))
    for name, expectation in named.items():
        expectation.meta = {"name": name}  # the results come in an order of their own
        expectation.description = name
    outcomes = _validated(list(named.values()), _frame(verdict, held), docs)
    found = {outcome["expectation_config"]["meta"]["name"]: outcome for outcome in outcomes}
    return [
        {"name": name, "success": found[name]["success"], "observed": _observed(found[name]["result"])}
        for name in named
    ]


def _validated(expectations: list[Any], frame: Any, docs: Path) -> list[dict[str, Any]]:
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction

    shutil.rmtree(docs, ignore_errors=True)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        "clean", {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index}
    )
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("clean")
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name="clean rows", expectations=expectations))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="gate", data=batch, suite=suite))
    pages = UpdateDataDocsAction(name="pages", site_names=["clean"])
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name="gate", validation_definitions=[validation], actions=[pages])
    )
    (result,) = checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()
    return [outcome.to_json_dict() for outcome in result.results]


def _frame(verdict: Verdict, held: list[str]) -> Any:
    """A line for each clean row: its place, and for each check why it fails, or null."""
    import pandas as pd

    with TemporaryDirectory() as folder:
        again = _examined(verdict, held, Path(folder))
        roster = again.roster
        split = pd.Categorical.from_codes([int(i >= roster.border) for i in range(roster.total)], list(SPLITS))
        source = pd.Categorical.from_codes(roster.source, roster.sources)
        frame = pd.DataFrame({"split": split, "source": source, "row": roster.row})
        for name in held:
            wrong = {f.index: f.reason for f in again.findings.shown.get(("warned", name), ())}
            frame[name] = pd.Series(wrong, frame.index, dtype="string")
    return frame


def _examined(verdict: Verdict, held: list[str], folder: Path) -> Verdict:
    """The clean rows after the checks once more; every row that fails is warned of."""
    changed = {f"on_{name}": "warn" if name in held else "ignore" for name in checks()}
    context = verdict.context.changed(**changed)
    again = Verdict(folder, context, Roster(verdict.rows()), Findings(folder, sys.maxsize))
    examine(again, (look(context, batch, {}) for batch in _batches(verdict)))
    return again


def _batches(verdict: Verdict) -> Iterator[Batch]:
    start = 0
    for split in SPLITS:
        for arrow in verdict.batches(split):
            yield Batch(split, start, from_arrow(arrow), arrow)
            start += arrow.num_rows


def _suite(gxe: Any, held: list[str], min_rows: int) -> Iterator[tuple[str, Any]]:
    """Expectations by the sentence that the report shows."""
    columns = [*PLACE, *held]
    yield "There are rows enough.", gxe.ExpectTableRowCountToBeBetween(min_value=min_rows)
    yield "The columns are the agreed ones.", gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True)
    yield "Every row belongs to a split.", gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))
    yield "Every row knows its source.", gxe.ExpectColumnValuesToNotBeNull(column="source")
    yield "Every row knows its number.", gxe.ExpectColumnValuesToBeBetween(column="row", min_value=1)
    for name in held:
        yield f"{name}: {promise(checks()[name])}", gxe.ExpectColumnValuesToBeNull(column=name)


def _observed(result: Any) -> str:
    """What was found, in a few words."""
    if "observed_value" in result:
        value = result["observed_value"]
        return f"{len(value)} columns" if isinstance(value, list) else f"{value:,}"
    wrong, rows, examples = result["unexpected_count"], result["element_count"], result["partial_unexpected_list"]
    return f"{wrong:,} of {rows:,} rows differ, such as {examples[0]!r}" if wrong else f"all {rows:,} rows"
