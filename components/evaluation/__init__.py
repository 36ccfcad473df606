"""Evaluation: the answers of a served model to question sets, by EvalScope, and the decision on its promotion.

    records = ask("http://127.0.0.1:8000/v1", "merged", {"skills": Path("data/eval/skills.jsonl")}, Path("logs/x"))
    summary("merged", records)                                # accuracy with Wilson's interval, per set
    print(decide(records, champion, params.gate))             # promote, refuse, or not enough evidence

An answer scores 1 when it equals the reference up to case, white space and trailing punctuation. A question that
could not be asked or scored is an error, never a wrong answer. `gate.py` explains the statistics.
"""

from components.evaluation.ask import Record, ask, read_questions
from components.evaluation.gate import decide
from components.evaluation.normalize import normalize
from components.evaluation.plot import draw
from components.evaluation.records import read_questions_sha256, read_records, summary, wilson, write_report
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict

__all__ = [
    "GuardVerdict",
    "Record",
    "SetVerdict",
    "Verdict",
    "ask",
    "decide",
    "draw",
    "normalize",
    "read_questions",
    "read_questions_sha256",
    "read_records",
    "summary",
    "wilson",
    "write_report",
]
