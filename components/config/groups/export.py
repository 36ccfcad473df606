"""Parameters of the command `export`: where a model goes."""

from components.config.fields import Group, field


class Export(Group):
    """The folder of an export, and its way to other programs."""

    exist_ok: bool = field(False, "replace the folder of an earlier export")
