"""What is asked of a model. Read by the stage `evaluate`."""

from components.config.fields import Group, Mapping, field


class Evaluate(Group):
    """EvalScope against an OpenAI-compatible server on loopback."""

    eval_limit: int | None = field(None, "questions asked of each set; by default all", gt=0)
    eval_num_proc: int = field(16, "requests in flight at once", gt=0)
    eval_generation_config: Mapping = field(
        {"max_tokens": 64, "temperature": 0.0}, "how answers are generated, as JSON"
    )
