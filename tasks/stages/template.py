"""Tokens of the clean rows, with labels on what the model has to generate."""

from pathlib import Path
from typing import Any

from components import cache, models, templates
from components.config import Params
from components.files import read_json, replacing_folder, sha256, write_json
from components.tokens import ShapeName
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main, progress

SHAPE: ShapeName = "sft"
"""The shape of the tokens."""


def run(params: Params, paths: Paths) -> Result:
    chat = chat_template(params, paths)
    # Not in the tokens' own manifest, so that equal tokens look equal to the stages that follow.
    write_json(paths.log("template") / "made_of.json", made_of(params, paths))
    with replacing_folder(paths.tokens) as tokens:
        report = templates.tokenize(
            paths.clean,
            tokens,
            chat,
            SHAPE,
            params.template.max_length,
            params.template.truncation_strategy,
            progress(paths, "template"),
            params.run.dataset_num_proc,
        )
    return {
        **{f"{name}_samples": count for name, count in report["samples"].items()},
        **{f"{name}_learnable_tokens": count for name, count in report["learnable_tokens"].items()},
        "refused": len(report["refused"]),
    }


def chat_template(params: Params, paths: Paths) -> templates.ChatTemplate:
    """Return the chat template of the model in data/model.json with the settings of the parameters."""
    settings = params.template
    loss_scale = templates.strategy(settings.loss_scale, _plugins(params, paths))
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    return templates.ChatTemplate(
        tokenizer, settings.system, loss_scale, settings.enable_thinking, settings.use_chat_template
    )


def made_of(params: Params, paths: Paths) -> dict[str, Any]:
    """Return all that decides the tokens, by name; the same parts give the same tokens."""
    rows = {path.name: sha256(path) for path in sorted(paths.clean.glob("*.parquet"))}
    return {"rows": rows, **recipe(params, paths)}


def recipe(params: Params, paths: Paths) -> dict[str, Any]:
    """Return all that decides which tokens a row becomes, by name."""
    code = [f"components.{name}" for name in ("plugins", "rows", "templates", "tokens")]
    return {
        "shape": SHAPE,
        **templates.identity(models.folder(read_json(paths.model), paths.workspace)),
        **params.template.model_dump(),
        "external_plugins": {file.name: sha256(file) for file in _plugins(params, paths)},
        "code": cache.code(*code, "tasks.stages.template"),
        "libraries": cache.versions("transformers", "tokenizers", "jinja2"),
    }


def _plugins(params: Params, paths: Paths) -> list[Path]:
    return [paths.workspace / Path(name).expanduser() for name in params.template.external_plugins]


if __name__ == "__main__":
    main("template", run)
