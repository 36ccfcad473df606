"""Parameters of proximal policy optimisation, with ms-swift's names and defaults. Read by the stage `train`."""

from components.config.fields import Group, field


class Ppo(Group):
    """How values and advantages of tokens are estimated, and how far a step goes (--rlhf_type ppo)."""

    num_ppo_epochs: int = field(4, "optimizer steps of ppo on the same answers", gt=0)
    kl_coef: float = field(0.05, "weight of the distance to the reference model in the reward of a token", ge=0)
    cliprange: float = field(0.2, "how far a token's probability may go in ppo, as a share", gt=0)
    vf_coef: float = field(0.1, "weight of the loss of the values", ge=0)
    cliprange_value: float = field(0.2, "how far a value may go from that at sampling", gt=0)
    gamma: float = field(1.0, "what a reward counts one token earlier, as a share", gt=0, le=1)
    lam: float = field(0.95, "lambda of GAE: 0 trusts the values, 1 the rewards", ge=0, le=1)
    whiten_rewards: bool = field(False, "divide the rewards of tokens by their deviation")
    missing_eos_penalty: float | None = field(
        None, "taken from the reward of an answer that --max_completion_length ended", ge=0
    )
