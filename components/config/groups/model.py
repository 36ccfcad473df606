"""The base model. Read by the stages `fetch`, `template`, `train` and `merge`."""

from components.config.fields import Group, field


class Model(Group):
    """The base model."""

    model: str | None = field(None, "base model: a folder, or a hub id", "model_id_or_path", "model_name_or_path")
    trust_remote_code: bool = field(False, "run the code in the model's folder, or of a hub at --model_revision")
    model_revision: str | None = field(None, "branch, tag or commit of the model on its hub")
