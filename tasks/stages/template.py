"""Turn clean conversations into tokens, with the loss on the assistant's turns."""

from components import models, templates
from components.config import Params
from components.files import read_json, replacing_folder
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main, progress


def run(params: Params, paths: Paths) -> Result:
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    chat = templates.ChatTemplate(tokenizer, params.template.system)
    with replacing_folder(paths.tokens) as tokens:
        report = templates.tokenize(
            paths.clean,
            tokens,
            chat,
            params.template.max_length,
            params.template.truncation_strategy,
            progress(paths, "template"),
        )
    return {
        **{f"{name}_samples": count for name, count in report["samples"].items()},
        **{f"{name}_learnable_tokens": count for name, count in report["learnable_tokens"].items()},
        "refused": len(report["refused"]),
    }


if __name__ == "__main__":
    main("template", run)
