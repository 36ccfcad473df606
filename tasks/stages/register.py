"""Stage `register`: the evaluated candidates as versions in the registry, with their lineage."""

import json
from contextlib import nullcontext
from typing import Any

from components import registry, tracking
from components.config import Params, difference
from components.files import read_json, write_json
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    """Register the merged model, which becomes challenger if it is new, and every quantized variant that was
    evaluated."""
    name, reports = params.registry.registered_model_name, paths.reports / "eval"
    variants = sorted(file.stem for file in reports.glob("*.json") if (paths.quantized / file.stem).is_dir())
    folders = {"merged": paths.merged, **{variant: paths.quantized / variant for variant in variants}}
    changed_params = {key: new for key, (_, new) in difference(params).items()}
    made_of = tracking.lineage(paths.root)
    lineage = {
        "base_model": made_of.get("base_model", "an unnamed base"),
        "commit": tracking.commit(paths.workspace) or "not in git",
        # One tag for all the rest: MLflow's page of a version shows every tag.
        "lineage": json.dumps({**made_of, "params": changed_params}, ensure_ascii=False),
    }
    with _recording(params, paths) as run_id:
        versions = {}
        for candidate, folder in folders.items():
            sets = read_json(reports / f"{candidate}.json")["sets"]
            scores = {f"accuracy.{key}": str(entry["accuracy"]) for key, entry in sets.items()}
            versions[candidate] = registry.register(
                name,
                folder,
                paths.workspace,
                reports=[reports / f"{candidate}.json", reports / f"{candidate}.parquet"],
                tags={**lineage, **scores, "variant": candidate},
                description=_description(candidate, sets, lineage),
                run_id=run_id,
            )
        registry.renew_challenger(name, paths.workspace)
        # No numbers: the file is the same whichever registry has the models, and after they are registered again.
        registered = [
            {"candidate": candidate, "name": name, "content_sha256": version.content}
            for candidate, version in versions.items()
        ]
        write_json(paths.reports / "registration.json", {"versions": registered})
    return {"versions": {candidate: version.number for candidate, version in versions.items()}}


def _recording(params: Params, paths: Paths) -> Any:
    """Return a context of the MLflow run that the versions belong to; None as its value without MLflow."""
    if "mlflow" not in params.tracking.report_to:
        return nullcontext()
    return tracking.recording(paths.root, paths.workspace, params.model_dump(mode="json"))


def _description(candidate: str, sets: dict[str, Any], lineage: dict[str, str]) -> str:
    """Return plain text: MLflow's list of versions renders no Markdown."""
    scores = ", ".join(f"{name} {entry['accuracy']:.1%}" for name, entry in sets.items()) or "not evaluated"
    return f"{candidate}, fine-tuned from {lineage['base_model']}: {scores}"


if __name__ == "__main__":
    main("register", run)
