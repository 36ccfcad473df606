"""The training method. Read by the stages `template` and `train`."""

from typing import Literal

from pydantic import field_validator

from components.config.fields import Group, field

TASKS = ("seq_cls", "embedding")
"""Tasks other than text, each with a training method of its own."""

NOT_JUDGED = (
    "task_type: the pipeline's gate compares answers, and this task writes none; train it with `martlet sft`, which "
    "evaluates it as well"
)


class Method(Group):
    """The training method, and what the model is trained to return."""

    method: str = field("sft", "training method: sft (chats), pt (plain text), or a plugin's name", "stage")
    task_type: Literal["causal_lm", "seq_cls", "embedding"] = field(
        "causal_lm",
        "what the model returns: text (causal_lm), the class of a text (seq_cls), or its vector (embedding)",
    )

    @field_validator("method")
    @classmethod
    def _is_no_task(cls, method: str) -> str:
        if method in TASKS:
            raise ValueError(f"is chosen by --task_type {method}")
        return method

    @property
    def name(self) -> str:
        """The file of `components/training/methods` that trains: the task's own, or for text the method's."""
        return self.method if self.task_type == "causal_lm" else self.task_type
