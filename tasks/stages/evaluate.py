"""Stage `evaluate`: the answers of the base, the merged model and each quantized variant to the same questions."""

import gc
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from components import models
from components.config import Params
from components.config.groups.serve import Serve
from components.evaluation import Record, Server, comparisons, draw, write_page, write_report
from components.files import read_json, write_json, write_text
from components.inference import ENGINES, ServeSettings
from components.inference.media_intake import MEDIA_MIB
from components.media import load_processor, takes_media
from tasks.loading import load_beside, weights_identity
from tasks.prompts import prompts, trained_with
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.question_sets import Sets, answered, sets_of
from tasks.stages.runner import Result, main, progress


def run(params: Params, paths: Paths) -> Result:
    """Write a report per candidate, `metrics.json`, `eval.csv`, `eval.png` and `eval.html`; all are empty without
    question sets."""
    candidates = {
        "base": models.folder(read_json(paths.model), paths.workspace),
        "merged": paths.merged,
        **{variant: paths.quantized / variant for variant in params.quantize.variants},
    }
    if params.model.trust_remote_code:
        for folder in candidates.values():
            models.allow_code(folder)
    sets_asked = sets_of(params, paths)
    answers: dict[str, list[Record]] = {
        name: evaluate_model(folder, name, sets_asked, params, paths) if sets_asked else []
        for name, folder in candidates.items()
    }

    reports = paths.reports / "eval"
    shutil.rmtree(reports, ignore_errors=True)
    sets = {name: write_report(reports, name, records)["sets"] for name, records in answers.items()}
    metrics = {name: {key: entry["accuracy"] for key, entry in entries.items()} for name, entries in sets.items()}
    rows = [
        f"{name},{key},{entry['accuracy']},{entry['low']},{entry['high']}"
        for name, entries in sets.items()
        for key, entry in entries.items()
    ]
    write_text(paths.reports / "eval.csv", "\n".join(["candidate,questions,accuracy,low,high", *rows, ""]))
    draw(sets, paths.reports / "eval.png")
    shown = {name: answers[name] for name in sorted(answers, key=lambda name: name != "merged")}
    write_page(paths.reports / "eval.html", shown, comparisons(shown, params.gate) if sets_asked else {})
    write_json(paths.root / "metrics.json", metrics)
    return {"sets": len(sets["base"]), "questions": len(answers["base"]), "accuracy": metrics}


def evaluate_model(
    folder: Path,
    name: str,
    sets: Sets,
    params: Params,
    paths: Paths,
    stage: str = "evaluate",
) -> list[Record]:
    """Serve a model folder under `name` with the engine of `infer_backend`; return its judged answers to the questions.

    The model is asked as it was trained: with the settings of the template that its folder holds, else the run's.
    Progress and EvalScope's files go to the log folder of `stage`.
    """
    engine = ENGINES.load(params.generation.infer_backend, plugin_files(params, paths.workspace))
    template = trained_with(folder, params.template)
    multimodal = trained_with(folder, params.multimodal)
    serve = Serve(max_request_mb=MEDIA_MIB if takes_media(folder) else None)
    settings = ServeSettings(
        load_beside,
        lambda tokenizer, _: prompts(template, load_processor(folder, multimodal, paths.workspace))(tokenizer),
        names=[name],
        max_batch_size=params.evaluate.eval_num_proc,
        params=Params(serve=serve, template=template, vllm=params.vllm, lmdeploy=params.lmdeploy, sglang=params.sglang),
    )
    try:
        with _a_core_for_the_clients(), engine.served(folder, {}, settings) as url:
            identity = [weights_identity(folder), template.model_dump(), multimodal.model_dump()]
            on_progress = progress(paths, stage)
            return answered(
                Server(url, name), sets, paths.log(stage) / name, identity, params, paths.workspace, on_progress
            )
    finally:
        gc.collect()  # the next candidate needs the memory of this one


@contextmanager
def _a_core_for_the_clients() -> Generator[None]:
    """Leave one core to the server and EvalScope's clients: with none, the model's threads wait for theirs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main("evaluate", run)
