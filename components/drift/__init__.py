"""Drift: how the rows of a run differ from those that a champion learned.

    write_profile(Path("data/raw"), Path(".martlet/rows/3.parquet"))        # the rows of version 3
    report = compare(Path(".martlet/rows/3.parquet"), Path("now.parquet"))
    write_report(Path("reports"), report)                                   # drift.json and drift.html

A profile is small: of each row its source, its topic, its length and a hash, and none of its text.
"""

from components.drift.compare import compare
from components.drift.page import write_report
from components.drift.profile import write_profile

__all__ = ["compare", "write_profile", "write_report"]
