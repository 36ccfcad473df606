"""The training method. Read by the stages `template` and `train`."""

from typing import Any, Literal, get_args

from pydantic import field_validator, model_validator

from components.config.fields import Group, field

TASKS = ("seq_cls", "embedding")
"""Tasks other than text, each with a training method of its own."""

Alignment = Literal["dpo", "cpo", "simpo", "orpo", "kto", "rm", "grpo", "rloo", "ppo", "gkd"]
"""Methods of `martlet rlhf`."""

NOT_JUDGED = (
    "task_type: the pipeline's gate compares answers, and this task writes none; train it with `martlet sft`, or a "
    "reward model with `martlet rlhf`, which evaluate it as well"
)


class Method(Group):
    """The training method, and what the model is trained to return."""

    method: str = field("sft", "training method: sft (chats), pt (plain text), or a plugin's name", "stage")
    rlhf_type: Alignment | None = field(None, "method of alignment, in place of --method")
    task_type: Literal["causal_lm", "seq_cls", "embedding"] = field(
        "causal_lm",
        "what the model returns: text (causal_lm), the class of a text (seq_cls), or its vector (embedding)",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_task_of_rewards(cls, values: Any) -> Any:
        """A reward model tells a number, as a classifier does."""
        is_rm = isinstance(values, dict) and values.get("rlhf_type") == "rm"
        return {"task_type": "seq_cls", **values} if is_rm else values

    @field_validator("method")
    @classmethod
    def _is_chosen_elsewhere(cls, method: str) -> str:
        if method in TASKS:
            raise ValueError(f"is chosen by --task_type {method}")
        if method in get_args(Alignment):
            raise ValueError(f"is chosen by --rlhf_type {method}")
        return method

    @property
    def name(self) -> str:
        """The file of `components/training/methods` that trains: that of the alignment, the task or the method."""
        return self.rlhf_type or (self.method if self.task_type == "causal_lm" else self.task_type)
