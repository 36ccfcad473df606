"""Parameters of the answers that reinforcement learning samples."""

from components.config.fields import Group, field


class Rollout(Group):
    """Answers that the model samples while it is trained."""

    max_completion_length: int = field(512, "longest answer that is sampled, in tokens", gt=0)
