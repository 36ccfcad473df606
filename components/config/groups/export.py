"""Parameters of the command `export`: where a model goes."""

from components.config.fields import Group, field


class Export(Group):
    """The folder of an export, and its way to other programs."""

    exist_ok: bool = field(False, "replace the folder of an earlier export, and nothing else")
    to_ollama: bool = field(False, "write a Modelfile, from which `ollama create` makes a model of Ollama's")
    push_to_hub: bool = field(False, "upload the result to the Hugging Face hub (with --use_hf true)")
    hub_model_id: str | None = field(None, "repository of --push_to_hub: OWNER/NAME")
    hub_private_repo: bool = field(False, "make a repository that is new private")
    commit_message: str = field("update files", "message of the upload")
