"""The checks' promises as a Great Expectations suite: https://docs.greatexpectations.io.

The suite computes nothing new. It repeats, as a contract for others, what our checks computed: the clean rows pass the
checks a second time, and each check that drops or blocks becomes one expectation, which holds if no row fails. A check
that only warns promises nothing. What the suite adds are named expectations, Data Docs pages, and the proof that the
rows that were written are the rows that the gate let through.

Its import takes seconds, so it happens only when `validation.data_docs` asks for it.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.data.batch_report import check_batch
from components.data.canonical import SPLITS
from components.data.check_list import all_checks, promise
from components.data.checks import Batch
from components.data.findings import Findings
from components.data.gate import Verdict, collect_reports
from components.data.row_index import RowIndex
from components.rows import from_arrow

PLACE_COLUMNS = ["split", "source", "row"]


def check_expectations(verdict: Verdict, docs: Path) -> None:
    """Compare the clean rows with the suite; an expectation that does not hold closes the gate.

    Args:
        docs: a folder for Great Expectations' Data Docs.
    """
    verdict.expectations = _results(verdict, docs)
    broken = [f"'{e['name']}' does not hold ({e['observed']})" for e in verdict.expectations if not e["success"]]
    reason = f"expectations: {', '.join(broken)}" if broken else ""
    verdict.add("expectations", "block", len(broken), reason)


def _results(verdict: Verdict, docs: Path) -> list[dict[str, Any]]:
    """Return `{name, success, observed}` for each expectation."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, by the import
    import great_expectations as gx

    actions = {name: verdict.context.action(name) for name in all_checks()}
    strict = [name for name, action in actions.items() if action in ("drop", "block") or name == "schema"]
    suite = dict(_suite(gx.expectations, strict, verdict.context.validation.min_rows))
    for name, expectation in suite.items():
        expectation.meta = {"name": name}  # the results come in an order of their own
        expectation.description = name
    outcomes = _validate(list(suite.values()), _frame(verdict, strict), docs)
    by_name = {outcome["expectation_config"]["meta"]["name"]: outcome for outcome in outcomes}
    return [
        {"name": name, "success": by_name[name]["success"], "observed": _observation(by_name[name]["result"])}
        for name in suite
    ]


def _validate(expectations: list[Any], frame: Any, docs: Path) -> list[dict[str, Any]]:
    """Run a suite over a data frame, write its pages, and return the outcomes."""
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


def _frame(verdict: Verdict, strict: list[str]) -> Any:
    """Return a data frame with one line for each clean row: its place, and for each check why it fails, or null."""
    import pandas as pd

    with TemporaryDirectory() as folder:
        second = _second_verdict(verdict, strict, Path(folder))
        rows = second.row_index
        split = pd.Categorical.from_codes([int(i >= rows.train_rows) for i in range(rows.total)], list(SPLITS))
        source = pd.Categorical.from_codes(rows.source, rows.sources)
        frame = pd.DataFrame({"split": split, "source": source, "row": rows.row})
        for name in strict:
            reasons = {f.index: f.reason for f in second.findings.shown.get(("warned", name), ())}
            frame[name] = pd.Series(reasons, frame.index, dtype="string")
    return frame


def _second_verdict(verdict: Verdict, strict: list[str], folder: Path) -> Verdict:
    """Return the verdict on the clean rows, in which every row that fails a strict check is warned of."""
    actions = {f"on_{name}": "warn" if name in strict else "ignore" for name in all_checks()}
    context = verdict.context.changed(**actions)
    second = Verdict(folder, context, RowIndex(verdict.rows()), Findings(folder, sys.maxsize))
    collect_reports(second, (check_batch(context, batch, {}) for batch in _batches(verdict)))
    return second


def _batches(verdict: Verdict) -> Iterator[Batch]:
    start = 0
    for split in SPLITS:
        for arrow in verdict.batches(split):
            yield Batch(split, start, from_arrow(arrow), arrow)
            start += arrow.num_rows


def _suite(gxe: Any, strict: list[str], min_rows: int) -> Iterator[tuple[str, Any]]:
    """Yield expectations, each behind the sentence that the report shows."""
    columns = [*PLACE_COLUMNS, *strict]
    yield "There are rows enough.", gxe.ExpectTableRowCountToBeBetween(min_value=min_rows)
    yield "The columns are the agreed ones.", gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True)
    yield "Every row belongs to a split.", gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))
    yield "Every row knows its source.", gxe.ExpectColumnValuesToNotBeNull(column="source")
    yield "Every row knows its number.", gxe.ExpectColumnValuesToBeBetween(column="row", min_value=1)
    for name in strict:
        yield f"{name}: {promise(all_checks()[name])}", gxe.ExpectColumnValuesToBeNull(column=name)


def _observation(result: Any) -> str:
    """Return what an expectation observed, in a few words."""
    if "observed_value" in result:
        value = result["observed_value"]
        return f"{len(value)} columns" if isinstance(value, list) else f"{value:,}"
    count, rows, examples = result["unexpected_count"], result["element_count"], result["partial_unexpected_list"]
    return f"{count:,} of {rows:,} rows differ, such as {examples[0]!r}" if count else f"all {rows:,} rows"
