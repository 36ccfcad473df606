"""The user's methods. Read by every stage that loads methods."""

from components.config.fields import Group, Names, field


class Plugins(Group):
    """Files that add methods."""

    external_plugins: Names = field(
        [],
        "Python files with your own methods of any kind: dataset, tuner, optimizer, loss, callback, training method, "
        "loss scale, metric, reward, quantization, engine; the name of a file (mine.py) is the name of its method "
        "(mine); paths, in params.yaml too, are relative to the workspace, or to the folder where a direct command is "
        "typed",
    )
