"""Parameters of the command and the stage `sample`: how many answers are drawn, and which are kept."""

from typing import Literal

from components.config.fields import Group, field


class Sample(Group):
    """Rejection sampling."""

    num_return_sequences: int = field(64, "answers to each prompt", ge=1)
    sample_format: Literal["messages", "preference"] = field(
        "messages",
        "messages: the best answers, a conversation each, for sft; preference: the best and the worst answer to a "
        "prompt, for rlhf",
    )
    n_best_to_keep: int = field(5, "with --sample_format messages, most answers to a prompt that are kept", ge=1)
    score_threshold: float = field(0.0, "an answer is a right one, and may be kept, above this score", "prm_threshold")
    easy_query_threshold: float | None = field(
        None, "share of right answers above which a prompt is left out, as too easy", ge=0, le=1
    )
    output_file: str = field("sampled.jsonl", "JSONL file for what is kept")
