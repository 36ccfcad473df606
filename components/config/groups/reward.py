"""Parameters of rewards, which judge the answers of a model. Read by reinforcement learning and rejection sampling."""

from components.config.fields import Group, Methods, Numbers, field


class Reward(Group):
    """Rewards and how they are weighed. A judge's API key is the environment variable MARTLET_JUDGE_API_KEY, or
    OPENAI_API_KEY."""

    reward_funcs: Methods = field(
        [],
        "rewards, added up: accuracy, format, cosine, repetition, soft_overlong, react_format, exact_match, numeric, "
        "choice, token_f1, rouge, bleu, regex, json_schema, tool_call, code, judge, judge_pair, or plugins",
    )
    reward_model: Methods = field([], "reward models, each a reward, too: folders, checkpoints of rm, or ids on a hub")
    reward_weights: Numbers = field(
        [], "weight of each of --reward_funcs, then of each --reward_model; by default 1 each"
    )
    reward_timeout: float = field(300.0, "seconds that a reward may take for the answers of one batch", gt=0)
    cosine_min_len_value_wrong: float = field(-0.5, "cosine: reward of a wrong answer of no length")
    cosine_max_len_value_wrong: float = field(0.0, "cosine: reward of a wrong answer of --cosine_max_len")
    cosine_min_len_value_correct: float = field(1.0, "cosine: reward of a right answer of no length")
    cosine_max_len_value_correct: float = field(0.5, "cosine: reward of a right answer of --cosine_max_len")
    cosine_max_len: int | None = field(
        None, "cosine: tokens from which on length changes nothing; by default --max_completion_length", gt=0
    )
    repetition_n_grams: int = field(3, "repetition: words that count as one piece", gt=0)
    repetition_max_penalty: float = field(-1.0, "repetition: reward of an answer that only repeats itself", le=0)
    soft_max_length: int | None = field(
        None, "soft_overlong: tokens of an answer that gets -1; by default --max_completion_length", gt=0
    )
    soft_cache_length: int | None = field(
        None, "soft_overlong: tokens before --soft_max_length in which the reward falls from 0 to -1", gt=0
    )
    code_timeout: float = field(10.0, "code: seconds for all tests of one answer", gt=0)
    code_memory_gb: float = field(1.0, "code: memory of one answer's program, in GiB", gt=0, le=1024)
    judge_base_url: str | None = field(None, "judge: OpenAI-compatible server, such as http://127.0.0.1:8000/v1")
    judge_model: str | None = field(None, "judge: name of the model on that server")
    judge_prompt: str | None = field(
        None,
        "judge: the question to the judge, in which {prompt}, {completion} and {name of a column} are replaced, and "
        "which asks for a number from 0 to 10 and nothing else",
    )
