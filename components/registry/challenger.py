"""The alias `challenger`: the newest candidate."""

from pathlib import Path

from components.registry.store import tags_and_aliases, writing

CHALLENGER = "challenger"


def renew_challenger(name: str, workspace: Path) -> None:
    """Give the alias `challenger` to the newest merged model; while that is champion no version has it."""
    with writing(workspace) as client:
        aliases = tags_and_aliases(client, name)[1]
        merged = client.search_model_versions(f"name = '{name}' and tags.variant = 'merged'")
        newest = max((int(entity.version) for entity in merged), default=None)
        if newest == aliases.get("champion"):
            newest = None
        if newest == aliases.get(CHALLENGER):
            return
        if newest is None:
            client.delete_registered_model_alias(name, CHALLENGER)
        else:
            client.set_registered_model_alias(name, CHALLENGER, str(newest))
