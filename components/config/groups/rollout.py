"""Parameters of reinforcement learning: what is sampled, and how it is learned. Names and defaults are ms-swift's."""

from typing import Literal

from components.config.fields import Group, field


class Rollout(Group):
    """Answers that the model samples while it is trained (--rlhf_type grpo, rloo, ppo, gkd)."""

    max_completion_length: int = field(512, "longest answer that is sampled, in tokens", gt=0)
    num_generations: int | None = field(
        None, "answers to each prompt, which grpo and rloo compare with each other; by default 8, with ppo 1", ge=1
    )
    num_iterations: int = field(1, "optimizer steps on the same answers", gt=0)
    scale_rewards: Literal["group", "batch", "none"] = field(
        "group", "what advantages are divided by: the deviation of a prompt's rewards, of all of a step, or nothing"
    )
    epsilon: float = field(0.2, "how far a token's probability may fall before the gradient stops, as a share", gt=0)
    epsilon_high: float | None = field(None, "how far it may rise; by default as --epsilon", gt=0)
    delta: float | None = field(None, "greatest ratio of probabilities that bad answers count with", gt=1)
    importance_sampling_level: Literal["token", "sequence"] = field(
        "token", "what has a ratio of probabilities of its own: each token, or each answer (GSPO)"
    )
    overlong_filter: bool = field(
        False, "do not learn from answers that --max_completion_length ended", "mask_truncated_completions"
    )
    multi_turn_scheduler: str | None = field(
        None, "plugin whose `step` says what follows an answer, such as the result of a tool"
    )
    max_turns: int | None = field(None, "most answers in a conversation; by default until the plugin ends it", gt=0)
    use_vllm: bool = field(False, "sample answers by vLLM, in place of the built-in engine")
    vllm_mode: Literal["colocate", "server"] = field(
        "colocate", "colocate starts vLLM on this machine; server uses one that runs at --vllm_server_base_url"
    )
    vllm_server_base_url: str | None = field(None, "where a vLLM runs that takes adapters, http://HOST:PORT")
    vllm_importance_sampling_correction: bool = field(
        True, "weigh tokens by how much likelier they are to the trained model than they were to vLLM"
    )
    vllm_importance_sampling_cap: float = field(2.0, "greatest such weight", gt=0)
    dynamic_sample: bool = field(
        False, "sample answers to other prompts in place of those to which all answers have equal rewards (DAPO)"
    )
    max_resample_times: int = field(3, "how often --dynamic_sample takes other prompts in a step", gt=0)
    log_completions: bool = field(False, "print some sampled answers with their rewards")
