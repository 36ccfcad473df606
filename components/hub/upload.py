"""Uploads of model folders to the Hugging Face hub."""

from pathlib import Path

from components.errors import ConfigError, MartletError
from components.hub.problems import check_reachable, first_line
from components.hub.repository import client

LEFT_BEHIND = ["*.pt", "*.pth", "*.bin", "*.distcp", "checkpoint-*/**", ".*", "**/.*"]
"""Pickled weights, and the optimizer's state of a checkpoint."""


def require_token() -> None:
    """Check that there is a token of the Hugging Face hub.

    Raises:
        ConfigError: there is none.
    """
    if not client("huggingface").has_token():
        raise ConfigError("--push_to_hub: there is no token; set HF_TOKEN to one that may write to the repository")


def upload(folder: Path, repo_id: str, private: bool = False, message: str = "update files") -> str:
    """Upload the files of a model folder in one commit, to a repository that is made if it is not there; return the
    commit's address.

    Raises:
        ConfigError: the id is malformed, there is no token, or it does not allow to write there.
        MartletError: the hub does not answer, or refuses the files.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    subject = f"model '{repo_id}'"
    require_token()
    check_reachable(client("huggingface"), subject)
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder, repo_id=repo_id, commit_message=message, ignore_patterns=LEFT_BEHIND
        )
    except HFValidationError as error:
        raise ConfigError(f"--hub_model_id {repo_id}: {first_line(error)}") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise ConfigError(f"{subject}: HF_TOKEN gives no right to write there; take a token that does") from error
        raise MartletError(f"{subject}: the hub refused the upload: {first_line(error)}") from error
    except (*client("huggingface").errors(), OSError) as error:
        raise MartletError(f"{subject}: the upload broke off ({first_line(error)}); run the command again") from error
    return str(commit.commit_url)
