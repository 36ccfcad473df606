"""Parameters of the evaluation. Read by the stage `evaluate`."""

from components.config.fields import Group, Mapping, field


class Evaluate(Group):
    """EvalScope against an OpenAI-compatible server on loopback."""

    eval_limit: int | None = field(None, "questions of each set; by default all", gt=0)
    eval_num_proc: int = field(16, "requests at the same time", gt=0)
    eval_scorer: str = field(
        "exact_match",
        "reward that judges answers where a question names none: exact_match, contains, numeric, accuracy "
        "(mathematics), token_f1, rouge, bleu, regex, judge, judge_pair, or a plugin",
    )
    eval_dataset_args: Mapping = field(
        {}, "arguments of EvalScope's benchmarks by their names, as JSON: few_shot_num, subset_list, local_path, …"
    )
    eval_generation_config: Mapping = field({"max_tokens": 64, "temperature": 0.0}, "generation settings, as JSON")
