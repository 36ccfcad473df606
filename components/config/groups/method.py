"""The training method. Read by the stages `template` and `train`."""

from components.config.fields import Group, field


class Method(Group):
    """The training method."""

    method: str = field("sft", "training method: sft (chats), pt (plain text), or a plugin's name", "stage")
