"""Turn clean rows into tokens, with the loss on what the model is to say."""

from pathlib import Path
from typing import Any

from components import cache, models, templates
from components.config import Params
from components.files import read_json, replacing_folder, sha256, write_json
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main, progress


def run(params: Params, paths: Paths) -> Result:
    chat = chat_template(params, paths)
    # Not in the tokens' own manifest: tokens that come out the same must not look like others to what follows.
    write_json(paths.log("template") / "made_of.json", made_of(params, paths))
    with replacing_folder(paths.tokens) as tokens:
        report = templates.tokenize(
            paths.clean,
            tokens,
            chat,
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
    """The chat template of the model in data/model.json, as the parameters want it used."""
    asked = params.template
    weights = templates.strategy(asked.loss_scale, _plugins(params, paths))
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    return templates.ChatTemplate(tokenizer, asked.system, weights, asked.enable_thinking, asked.use_chat_template)


def made_of(params: Params, paths: Paths) -> dict[str, Any]:
    """All that decides the tokens, by name; the same parts give the same tokens."""
    rows = {path.name: sha256(path) for path in sorted(paths.clean.glob("*.parquet"))}
    return {"rows": rows, **recipe(params, paths)}


def recipe(params: Params, paths: Paths) -> dict[str, Any]:
    """All that decides which tokens a row becomes, by name."""
    return {
        **templates.identity(models.folder(read_json(paths.model), paths.workspace)),
        **params.template.model_dump(),
        "external_plugins": {file.name: sha256(file) for file in _plugins(params, paths)},
        "code": cache.code("components.templates", "components.rows", "tasks.stages.template"),
        "libraries": cache.versions("transformers", "tokenizers", "jinja2"),
    }


def _plugins(params: Params, paths: Paths) -> list[Path]:
    return [paths.workspace / Path(name).expanduser() for name in params.template.external_plugins]


if __name__ == "__main__":
    main("template", run)
