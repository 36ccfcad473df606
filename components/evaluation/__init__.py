"""Evaluation: the answers of a served model to questions, by EvalScope, and the decision on its promotion.

    questions = {"skills": read_questions(Path("data/eval/skills.jsonl"))}
    answers = ask(Server("http://127.0.0.1:8000/v1", "merged"), questions, Path("logs/x"), "the model's hash")
    records = [record_of(answer, score, "exact_match") for answer, score in …]    # rewards judge the answers
    summary("merged", records)                                # accuracy with Wilson's interval, per set
    print(decide(records, champion, params.gate))             # promote, refuse, or not enough evidence

A question that could not be asked or scored is an error, never a wrong answer. `gate.py` explains the statistics.
"""

from components.evaluation import benchmarks
from components.evaluation._evalscope import Server
from components.evaluation.ask import Answer, Question, ask, read_questions
from components.evaluation.gate import decide
from components.evaluation.page import Headline, comparisons, write_page
from components.evaluation.plot import draw
from components.evaluation.records import (
    Record,
    read_questions_sha256,
    read_records,
    record_of,
    summary,
    wilson,
    write_report,
)
from components.evaluation.verdict import GuardVerdict, SetVerdict, Verdict

__all__ = [
    "Answer",
    "GuardVerdict",
    "Headline",
    "Question",
    "Record",
    "Server",
    "SetVerdict",
    "Verdict",
    "ask",
    "benchmarks",
    "comparisons",
    "decide",
    "draw",
    "read_questions",
    "read_questions_sha256",
    "read_records",
    "record_of",
    "summary",
    "wilson",
    "write_page",
    "write_report",
]
