"""The user's own methods. Read by every stage that may load one."""

from components.config.fields import Group, Names, field


class Plugins(Group):
    """Files that add methods."""

    external_plugins: Names = field(
        [], "Python files with methods of your own (tuner, optimizer, loss_scale, …), each named by its file"
    )
