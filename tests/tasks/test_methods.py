"""What a run's methods are made of: their files and parameters, as the stages and the plan see them."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import write_json
from tasks.plan import Pipeline
from tasks.stages import methods
from tests.flows.toy import make

PIPELINE = """\
stages:
  train:
    cmd: mkdir -p models && echo trained > models/adapter
    params: [tuner, {data/methods.json: [train]}]
    outs: [models/adapter]
"""


def used(workspace: Path, **flags: object) -> dict:
    return methods.used(resolve(read_flags({"model": "m", **flags})), workspace)


def test_a_file_that_is_edited_changes_the_stages_that_use_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def weigh(response, query):\n    return [(response, 1.0)]\n")
    flags = {"external_plugins": ["mine.py"], "loss_scale": "mine"}
    before = used(tmp_path, **flags)
    file.write_text("def weigh(response, query):\n    return [(response, 2.0)]\n")
    after = used(tmp_path, **flags)
    assert {stage for stage in before if before[stage] != after[stage]} == {"template"}
    assert set(after["template"]["files"]) == {"training method sft", "loss scale mine"}


def test_a_method_that_is_not_used_is_not_there(tmp_path: Path) -> None:
    lora = {"training method sft", "tuner lora", "parameters lora", "optimizer adamw", "loss cross_entropy"}
    assert set(used(tmp_path)["train"]["files"]) == lora
    flags = {"tuner_type": "full", "optimizer": "galore", "callbacks": ["lisa"], "galore_rank": 4, "method": "pt"}
    full = used(tmp_path, **flags)
    assert set(full["train"]["files"]) == {
        "training method pt", "tuner full", "parameters quantization", "parameters freezing", "parameters towers",
        "optimizer galore", "parameters galore", "callback lisa", "parameters lisa", "loss cross_entropy",
    }  # fmt: skip
    assert full["train"]["parameters"] == {"galore.galore_rank": 4}
    assert full["template"]["shape"] == "text"


def test_the_length_of_answers_is_a_parameter_of_trainings_that_generate_answers(tmp_path: Path) -> None:
    assert used(tmp_path, max_new_tokens=8)["train"]["parameters"] == {}
    answering = used(tmp_path, max_new_tokens=8, predict_with_generate=True)["train"]["parameters"]
    assert answering == {"generation.max_new_tokens": 8}


def test_parameters_of_quantizers_belong_to_the_stages_of_the_variants(tmp_path: Path) -> None:
    stages = used(tmp_path, variants=["bnb-int8"], min_agreement=0.75)
    assert stages["quantize bnb-int8"]["parameters"] == {"quantize.min_agreement": 0.75}
    both = used(tmp_path, variants=["bnb-int8", "bnb-nf4"], min_agreement=0.75)
    assert both["quantize bnb-int8"] == stages["quantize bnb-int8"]


def test_a_method_is_made_of_those_that_it_composes(tmp_path: Path) -> None:
    files = used(tmp_path, tuner_type="dora", quant_method="bnb")["train"]["files"]
    assert {"tuner dora", "tuner lora", "parameters lora"} <= set(files)
    assert {"quantization method bnb", "parameters quantization"} <= set(files)
    (tmp_path / "mine.py").write_bytes(Path("components/tuners/dora.py").read_bytes())
    mine = used(tmp_path, tuner_type="mine", external_plugins=["mine.py"])["train"]["files"]
    assert {"tuner mine", "tuner lora", "parameters lora"} <= set(mine)


def test_shapes_of_tokens_that_there_are_not_are_refused(tmp_path: Path) -> None:
    (tmp_path / "triples.py").write_text("SHAPE = 'triples'\n\ndef trainer(job): ...\n")
    with pytest.raises(ConfigError, match=r"triples\.py: SHAPE is one of sft, .*, not 'triples'"):
        used(tmp_path, method="triples", external_plugins=["triples.py"])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = make(tmp_path / "toy")
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("tuner: {tuner_type: lora}\nlora: {lora_rank: 8}\n")
    return root


def test_the_plan_names_methods_and_their_parameters(workspace: Path) -> None:
    write_json(workspace / "data/methods.json", used(workspace))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=workspace, check=True)
    assert Pipeline(workspace).plan()[0].why == ()
    rank = Pipeline(workspace).plan({"lora": {"lora_rank": 16}})[0]
    assert rank.why == ("lora.lora_rank 8 → 16",)
    tuner = Pipeline(workspace).plan({"tuner": {"tuner_type": "ia3"}})[0]
    assert "params.yaml: tuner.tuner_type lora → ia3" in tuner.why
    assert "tuner ia3 changed" in tuner.why
