"""An adapter with random matrices is merged by the stage; plain transformers loads what it leaves."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from components import models, tuners
from components.config import Params
from components.config.groups.merge import Merge
from components.errors import ConfigError, MartletError
from components.files import read_json, write_json
from tasks.loading import load
from tasks.stages import merge, methods, train
from tasks.stages.paths import Paths
from tests.components.models.quantized import published
from tests.components.training.runs import some_rows, write_tokens
from tests.tasks.stages.runs import Run, finished_training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    return finished_training(tmp_path_factory.mktemp("run"), tiny_model)


@pytest.fixture(scope="module")
def done(trained: Run) -> Run:
    merge.run(trained.params, trained.paths)
    return trained


@pytest.fixture
def broken(trained: Run, tmp_path: Path) -> Run:
    shutil.copytree(trained.paths.root, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/models/merged", ignore_errors=True)
    return trained.at(tmp_path / "run")


def greedy_logits(model, rows: list[list[int]]) -> list[torch.Tensor]:
    with torch.no_grad():
        return [model.eval()(torch.tensor([row])).logits for row in rows]


def test_the_merged_folder_is_adapter_on_base_for_plain_transformers(done: Run) -> None:
    base = AutoModelForCausalLM.from_pretrained(done.base, dtype=torch.float32)
    plain = greedy_logits(base, done.rows)
    adapted = greedy_logits(PeftModel.from_pretrained(base, done.paths.adapter), done.rows)
    merged, found = AutoModelForCausalLM.from_pretrained(done.paths.merged, output_loading_info=True)
    assert not any(found.values())
    assert merged.config.tie_word_embeddings
    for one, other, untrained in zip(adapted, greedy_logits(merged, done.rows), plain, strict=True):
        assert (one - other).abs().max() < 1e-4
        assert (one - untrained).abs().max() > 0.1  # the adapter does something


COMPANIONS = (
    "additional_chat_templates/tool_use.jinja", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "chat_template.json", "LICENSE", "USE_POLICY.txt", "speech/config_speech.json",
)  # fmt: skip


def test_a_folder_that_is_made_of_a_base_has_all_that_the_base_had(trained: Run, tmp_path: Path) -> None:
    base, merged, whole = Path(shutil.copytree(trained.base, tmp_path / "base")), tmp_path / "merged", tmp_path / "full"
    for name in COMPANIONS:
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text("{{ messages[0].content }}" if name.endswith("jinja") else "{}")
    (base / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_k": 7}')
    left_behind = {"modeling_mine.py", "pytorch_model.bin", "README.md", ".gitattributes"}
    for name in left_behind:
        (base / name).write_text("")
    merged.mkdir()
    merge.merge_into(merged, base, trained.paths.adapter, trained.samples, Merge())
    write_tokens(whole / "data/tokens", some_rows(8))
    paths = Paths(whole, whole)
    write_json(paths.model, models.resolve(str(base), None, False, whole))
    params = Params.model_validate({"tuner": {"tuner_type": "full"}, "train": {"max_steps": 1}})
    write_json(paths.methods, methods.used(params, whole))
    train.run(params, paths)
    had = {str(file.relative_to(base)) for file in base.rglob("*") if file.is_file()} - left_behind
    for folder in (merged, paths.adapter):
        has = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        assert has >= had
        assert not has & left_behind
        assert all((folder / name).read_bytes() == (base / name).read_bytes() for name in COMPANIONS)
        settings = GenerationConfig.from_pretrained(folder)
        assert (settings.temperature, settings.top_k) == (0.6, 7)


def test_what_lies_beside_the_weights(done: Run) -> None:
    folder = done.paths.merged
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (done.base / name).read_bytes()
    assert GenerationConfig.from_pretrained(folder).eos_token_id == 2  # <|im_end|>, once
    proof = json.loads((folder / "merge.json").read_text())
    assert 0 < proof["merged"]["max_abs_difference"] < 1e-4
    assert proof["read_back"]["max_abs_difference"] == 0
    assert proof["rows"] == len(done.rows)
    card = (folder / "README.md").read_text()
    train_hash = json.loads((done.paths.tokens / "manifest.json").read_text())["files"]["train.arrow"]["sha256"]
    template_hash = json.loads((done.paths.tokens / "template.json").read_text())["template_sha256"]
    identity = json.loads(done.paths.model.read_text())
    for fact in (train_hash, template_hash, identity["sha256"], "| lora_rank | 4 |", "| eval_loss | 0.25 |"):
        assert fact in card
    assert not list(done.paths.root.rglob("*.tmp"))


def test_an_answer_ends_where_the_template_ends_a_turn(broken: Run) -> None:
    config = {"eos_token_id": 0, "temperature": 0.7, "do_sample": True}
    (broken.base / "generation_config.json").write_text(json.dumps(config))
    merge.run(broken.params, broken.paths)
    settings = GenerationConfig.from_pretrained(broken.paths.merged)
    assert settings.eos_token_id == [0, 2]
    assert (settings.temperature, settings.do_sample) == (0.7, True)


def test_equal_inputs_give_equal_bytes(done: Run, broken: Run) -> None:
    merge.run(broken.params, broken.paths)
    for file in done.paths.merged.iterdir():
        assert file.read_bytes() == (broken.paths.merged / file.name).read_bytes(), file.name


def test_weights_are_split_and_stored_as_the_base_is(broken: Run) -> None:
    base = AutoModelForCausalLM.from_pretrained(broken.base, dtype=torch.bfloat16)
    base.save_pretrained(broken.base)
    merge.run(Params.model_validate({"merge": {"max_shard_size": "50KB"}}), broken.paths)
    shards = sorted(broken.paths.merged.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert {tensor.dtype for shard in shards for tensor in load_file(shard).values()} == {torch.bfloat16}
    proof = json.loads((broken.paths.merged / "merge.json").read_text())
    assert proof["merged"]["max_abs_difference"] < 1e-4 < proof["stored_in_bfloat16"]["max_abs_difference"]


def test_a_difference_above_the_tolerance_is_an_error_with_its_figures(broken: Run) -> None:
    with pytest.raises(MartletError, match=r"merged against adapter on base: .* differ by up to .* allows 1e-12"):
        merge.run(Params.model_validate({"merge": {"merge_tolerance": 1e-12}}), broken.paths)
    assert not broken.paths.merged.exists()


def test_an_adapter_that_does_not_fit_never_passes_for_the_base(broken: Run) -> None:
    file = broken.paths.adapter / "adapter_model.safetensors"
    save_file({f"other.{name}": tensor for name, tensor in load_file(file).items()}, file)
    with pytest.raises(MartletError, match="does not fit the model"):
        merge.run(broken.params, broken.paths)
    assert not broken.paths.merged.exists()


def test_a_base_without_weights_or_tokenizer_is_one_sentence(broken: Run) -> None:
    (broken.base / "model.safetensors").unlink()
    with pytest.raises(MartletError, match="no weights in safetensors format"):
        merge.run(broken.params, broken.paths)
    for file in broken.base.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigError, match="no tokenizer"):
        merge.run(broken.params, broken.paths)


def test_an_adapter_that_makes_up_for_a_quantization_is_merged_into_what_that_left(broken: Run) -> None:
    groups = {"lora": {"lora_rank": 4, "init_weights": "loftq"}, "quantization": {"quant_method": "bnb"}}
    params, lora, adapter = Params.model_validate(groups), tuners.TUNERS.load("lora"), broken.paths.adapter
    quantized = models.load_model(broken.base, "float32", quantization=params.quantization)
    adapted = lora.wrap(models.prepared(quantized, params.quantization), params, 1)
    lora.initialise(adapted, [])
    lora.save(adapted, adapter)
    write_json(adapter / "args.json", {**read_json(adapter / "args.json"), **params.model_dump(include=set(groups))})
    merge.run(broken.params, broken.paths)
    merged = greedy_logits(AutoModelForCausalLM.from_pretrained(broken.paths.merged), broken.rows)
    for one, other in zip(greedy_logits(adapted, broken.rows), merged, strict=True):
        assert (one - other).abs().max() < 1e-4
    assert read_json(broken.paths.merged / "merge.json")["trained_on_bnb"]["max_abs_difference"] < 1e-4


def test_untied_embeddings_are_both_kept(tmp_path: Path, tiny_model: Path) -> None:
    untied = tmp_path / "untied"
    shutil.copytree(tiny_model, untied)
    model = AutoModelForCausalLM.from_pretrained(untied, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 1.5)
    model.save_pretrained(untied)
    run = finished_training(tmp_path / "run", untied)
    merge.run(run.params, run.paths)
    merged = AutoModelForCausalLM.from_pretrained(run.paths.merged)
    assert not merged.config.tie_word_embeddings
    assert torch.equal(merged.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(merged.lm_head.weight, merged.get_input_embeddings().weight)


def test_full_training_is_written_as_it_is(broken: Run) -> None:
    shutil.rmtree(broken.paths.adapter)
    model = AutoModelForCausalLM.from_pretrained(broken.base)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    model.save_pretrained(broken.paths.adapter)
    trained = {"tuner": {"tuner_type": "full"}, "train": {}}
    (broken.paths.adapter / "args.json").write_text(json.dumps(trained))
    merge.run(broken.params, broken.paths)
    merged = AutoModelForCausalLM.from_pretrained(broken.paths.merged)
    for one, other in zip(greedy_logits(model, broken.rows), greedy_logits(merged, broken.rows), strict=True):
        assert torch.equal(one, other)


def test_merged_tokens_are_those_that_were_trained_on(done: Run) -> None:
    merged = AutoTokenizer.from_pretrained(done.paths.merged)
    assert [merged.apply_chat_template(chat, return_dict=False) for chat in done.chats] == done.rows


def test_what_cannot_be_merged_is_served_as_an_adapter_in_the_folder(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.paths.root, tmp_path / "run", ignore=shutil.ignore_patterns("models"))
    paths = trained.at(tmp_path / "run").paths
    params = Params.model_validate({"tuner": {"tuner_type": "reft"}, "train": {"max_steps": 2, "learning_rate": 0.1}})
    write_json(paths.methods, methods.used(params, paths.root))
    train.run(params, paths)
    merge.run(params, paths)
    with torch.no_grad():
        base, on_base, of_folder = (
            load(folder, adapter, "float32")[0](torch.tensor([trained.rows[0]])).logits
            for folder, adapter in ((trained.base, None), (trained.base, paths.adapter), (paths.merged, None))
        )
    assert torch.equal(on_base, of_folder)
    assert not torch.allclose(base, of_folder, atol=1e-2)
    assert json.loads((paths.merged / "merge.json").read_text())["merged"] is None
    assert "cannot be merged" in (paths.merged / "README.md").read_text()


def test_on_a_base_of_quantized_weights_the_adapter_stays_beside_it(tiny_model: Path, tmp_path: Path) -> None:
    run = finished_training(tmp_path / "run", published(tiny_model, tmp_path / "base", "fp8"))
    merge.run(run.params, run.paths)
    assert models.stored_quantization(run.paths.merged) == "fp8"
    expected, _ = load(run.base, run.paths.adapter)
    untrained, _ = load(run.base)
    served, _ = load(run.paths.merged)
    for one, other, plain in zip(*(greedy_logits(m, run.rows) for m in (served, expected, untrained)), strict=True):
        assert torch.equal(one, other)
        assert (one - plain).abs().max() > 0.1
    with pytest.raises(ConfigError, match="holds weights quantized by fp8, which an adapter cannot be added to"):
        merge.merge_into(tmp_path / "into", run.base, run.paths.adapter, run.samples, Merge())
