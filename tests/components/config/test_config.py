"""One schema behind YAML, flags and overrides; every problem reported, at once, where it was written."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import (
    CANONICAL,
    GROUPS,
    LEAVES,
    Params,
    add_flags,
    difference,
    load,
    parse,
    read_flags,
    read_mapping,
    read_overrides,
    read_yaml,
    resolve,
)
from components.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="martlet sft", allow_abbrev=False)
    add_flags(made, GROUPS)
    return made


def problems(text: str, tmp_path: Path) -> str:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    return str(caught.value)


def test_leaf_names_are_unique_over_all_groups() -> None:
    assert len(LEAVES) == sum(len(group.model_fields) for group in GROUPS.values())


def test_every_parameter_has_one_line_of_help() -> None:
    for leaf in LEAVES.values():
        assert leaf.info.description, leaf.name
        assert "\n" not in leaf.info.description, leaf.name


def test_yaml_flag_and_override_are_the_same_thing(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("tuner:\n  lora_rank: 16\n  target_modules: [q_proj, v_proj]\ntrain:\n  learning_rate: 1e-3\n")
    _, flags = parse(parser(), ["--lora_rank", "16", "--target_modules", "q_proj", "v_proj", "--learning-rate=1e-3"])
    overrides = ["lora.lora_rank=16", "target_modules=[q_proj, v_proj]", "learning_rate=1e-3"]
    mapping = {"tuner": {"lora_rank": 16, "target_modules": ["q_proj", "v_proj"]}, "learning_rate": 1e-3}
    expected = {
        "lora.lora_rank": (8, 16),
        "tuner.target_modules": (["all-linear"], ["q_proj", "v_proj"]),
        "train.learning_rate": (None, 1e-3),
    }
    for layer in (read_yaml(file), read_flags(flags), read_overrides(overrides), read_mapping(mapping, "run")):
        assert difference(resolve(layer)) == expected


SETTINGS: dict[str, tuple[list[str], dict[str, object]]] = {
    "a flag": (["--lora_rank", "16"], {"lora_rank": "16"}),
    "a flag with dashes": (["--lora-rank=16"], {"lora_rank": "16"}),
    "a flag with its group": (["--lora.lora_rank", "16"], {"lora_rank": "16"}),
    "a setting": (["lora_rank=16"], {"lora_rank": "16"}),
    "a setting with its group": (["lora.lora_rank=16"], {"lora_rank": "16"}),
    "a setting with its former group": (["tuner.lora_rank=16"], {"lora_rank": "16"}),
    "a setting by an alias": (["lora_r=16"], {"lora_rank": "16"}),
    "a setting with dashes": (["lora-rank=16"], {"lora_rank": "16"}),
    "a setting with a list": (["target_modules=[a, b]"], {"target_modules": ["a", "b"]}),
    "between flags": (["--seed", "1", "lora_rank=2", "--packing"], {"seed": "1", "lora_rank": "2", "packing": "true"}),
    "after a list": (["--dataset", "a", "b", "seed=1"], {"dataset": ["a", "b"], "seed": "1"}),
    "after a switch": (["--packing", "seed=1"], {"packing": "true", "seed": "1"}),
    "a value that looks like a setting": (["--system", "seed=1"], {"system": "seed=1"}),
    "the first value of a list": (["--stop_words", "seed=1"], {"stop_words": ["seed=1"]}),
    "words of a list that are no parameters": (["--stop_words", "a", "x=1"], {"stop_words": ["a", "x=1"]}),
    "a setting with an equals sign": (["system=a=b"], {"system": "a=b"}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_flags_and_settings_stand_anywhere(name: str) -> None:
    words, expected = SETTINGS[name]
    assert parse(parser(), words)[1] == expected


def test_a_file_with_an_equals_sign_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("seed=1", "sed=1"):
        (tmp_path / name).touch()
        assert parse(parser(), ["--dataset", "a", name])[1] == {"dataset": ["a", name]}
    (tmp_path / "part=1.jsonl").touch()
    assert parse(parser(), ["--dataset", "a", "part=*.jsonl"])[1] == {"dataset": ["a", "part=*.jsonl"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", "1", "seed=2"], "'seed=2': given twice, also as --seed"),
        (["seed=1", "seed=2"], "'seed=2': 'seed' is given twice"),
        (["sed=1"], "'sed=1': unknown parameter 'sed' (did you mean 'seed'?)"),
        (["train.lora_rank=1"], "'lora_rank' does not belong to 'train' but to 'lora'"),
        (["lora_rank", "16"], "unexpected 'lora_rank': write --lora_rank VALUE or lora_rank=VALUE"),
        (["-lora_rank", "16"], "unexpected '-lora_rank': write --lora_rank VALUE"),
        (["lora_rank=x", "--sed=1"], "2 problems"),
        (["--dataset", "a", "lora_rnk=3"], "'lora_rnk=3': unknown parameter 'lora_rnk' (did you mean 'lora_rank'?)"),
        (["--dataset", "a", "b", "lr=1e-4"], "'lr=1e-4': 'lr': here it is --learning_rate"),
    ],
)
def test_what_cannot_be_set_says_what_to_type(words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(parser(), words)
    assert expected in str(caught.value)


def test_a_parameter_of_another_command_is_said_to_be_that() -> None:
    small = argparse.ArgumentParser(prog="martlet deploy", allow_abbrev=False)
    add_flags(small, ["serve"])
    for words in (["--seed", "1"], ["seed=1"]):
        with pytest.raises(ConfigError, match="not a parameter of `martlet deploy` but of `martlet sft`"):
            parse(small, words, lambda name: ["sft"] if name == "seed" else [])


@pytest.mark.parametrize("name", [leaf.name for leaf in LEAVES.values() if leaf.kind is float])
def test_a_number_is_finite(name: str) -> None:
    for value in ("inf", "nan", float("-inf")):
        with pytest.raises(ConfigError, match=rf"--{name}: \w+\.{name} should be a finite number, not"):
            resolve(read_flags({name: value}))


@pytest.mark.parametrize("size", ["banana", "", "5", "0GB", "-1GB", "5 GiB", "1e3MB", "inf GB"])
def test_a_size_is_a_number_with_a_unit(size: str) -> None:
    assert resolve(read_flags({"max_shard_size": "0.5 gb"})).merge.max_shard_size == "0.5 gb"
    with pytest.raises(ConfigError, match="max_shard_size must be a size such as 5GB or 500MB, not"):
        resolve(read_flags({"max_shard_size": size}))


def test_later_layers_win() -> None:
    assert resolve(read_overrides(["lora_rank=2"]), read_overrides(["lora_rank=4"])).lora.lora_rank == 4


@pytest.mark.parametrize("alias", ["train_type", "tuner_type", "finetuning_type"])
def test_aliases_are_the_parameter(alias: str) -> None:
    _, flags = parse(parser(), [f"--{alias}", "full"])
    assert resolve(read_flags(flags)).tuner.tuner_type == "full"
    assert resolve(read_overrides([f"{alias}=full"])).tuner.tuner_type == "full"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--report_to none recipe.yaml", {"report_to": ["none"]}),
        ("--dataset a.jsonl b.jsonl recipe.yaml lora_rank=4", {"dataset": ["a.jsonl", "b.jsonl"], "lora_rank": "4"}),
        ("--packing recipe.yaml", {"packing": "true"}),
        ("recipe.yaml --report_to none", {"report_to": ["none"]}),
    ],
)
def test_a_recipe_is_no_value_of_the_flag_before(words: str, values: dict[str, Any]) -> None:
    made = parser()
    made.add_argument("recipe", nargs="*")
    namespace, parsed = parse(made, words.split())
    assert (namespace.recipe, parsed) == (["recipe.yaml"], values)


def test_a_group_and_a_parameter_may_share_a_name(tmp_path: Path) -> None:
    file = tmp_path / "flat.yaml"
    file.write_text("model: org/name\n")
    assert load(file).model.model == "org/name"
    file.write_text("model:\n  model: org/name\n")
    assert load(file).model.model == "org/name"


def test_all_problems_are_reported_together_with_line_and_nearest_name(tmp_path: Path) -> None:
    message = problems(
        "tuner:\n  lora_rnk: 8\n  lora_alpha: much\ntrain:\n  seed: 1\n  lr_scheduler_type: cosin\n", tmp_path
    )
    assert "3 problems" in message
    assert "params.yaml:2: unknown parameter 'tuner.lora_rnk' (did you mean 'lora_rank'?)" in message
    assert "params.yaml:3: lora.lora_alpha should be a valid number" in message
    assert "params.yaml:6: train.lr_scheduler_type must be one of cosine" in message
    assert "(did you mean 'cosine'?)" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tunr:\n  lora_rank: 8\n", "params.yaml:1: unknown parameter 'tunr' (did you mean 'tuner'?)"),
        ("tuner:\n  max_length: 8\n", "'max_length' does not belong to 'tuner' but to 'template'"),
        ("lora_rank: 8\ntuner:\n  lora_rank: 9\n", "params.yaml:3: 'tuner.lora_rank' is given twice"),
        ("tuner:\n  lora_rank: 8\n  lora_rank: 9\n", "params.yaml:3: not valid YAML"),
        ("tuner: [1, 2]\n", "unknown parameter 'tuner'"),
        ("- a\n- b\n", "params.yaml:1: expected parameters by name"),
        ("tuner: {lora_rank: 8\n", "not valid YAML"),
        ("tuner:\n  lora_rank: 0\n", "should be greater than 0"),
        ("tuner:\n  lora_rank: 8.5\n", "should be a valid integer"),
        ("train:\n  num_train_epochs: [1]\n", "should be a valid number"),
        ("data:\n  dataset: 3\n", "should be a valid list"),
        ("data:\n  columns: 'not json'\n", "is not JSON"),
        ("train:\n  callbacks: [lisa, lisa]\n", "train.callbacks names lisa more than once"),
        ("train:\n  eval_metric: [nlg, acc, nlg]\n", "train.eval_metric names nlg more than once"),
        ("quantize:\n  variants: [a, a]\n", "quantize.variants names a more than once"),
        (
            "freezing:\n  freeze_parameters_regex: ''\n",
            "regex string should have at least 1 character",
        ),
        ("lycoris:\n  lokr_factor: 0\n", "lycoris.lokr_factor must be -1, or the size of a factor"),
        ('gate:\n  forbidden_words: [""]\n', "gate.forbidden_words has an empty word"),
        ("method:\n  task_type: reranker\n", "method.task_type 'reranker': not offered yet"),
    ],
)
def test_bad_yaml_is_one_clear_message(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in problems(text, tmp_path)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError):
        load(tmp_path / "binary.yaml")


def test_unknown_flags_are_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(parser(), ["--lora_rnk", "8", "--lerning_rate=1"])
    assert "--lora_rnk (did you mean 'lora_rank'?)" in str(caught.value)
    assert "--lerning_rate (did you mean 'learning_rate'?)" in str(caught.value)


def test_null_means_the_default() -> None:
    assert resolve(read_overrides(["max_length=null", "learning_rate=None"])) == Params()


def test_text_stays_text() -> None:
    assert resolve(read_overrides(["system=You are: helpful"])).template.system == "You are: helpful"


@given(st.text(alphabet=st.characters(codec="ascii", categories=["Ll", "Pc"]), min_size=1, max_size=12))
def test_no_unknown_name_is_ever_accepted(name: str) -> None:
    layer = read_overrides([f"{name}=1"])
    assert bool(layer.problems) == (name not in CANONICAL)


@given(st.sampled_from(sorted(LEAVES)))
def test_a_resolved_value_survives_a_round_trip_through_json(name: str) -> None:
    params = resolve(read_flags({name: LEAVES[name].default}))
    assert resolve(read_mapping(json.loads(params.model_dump_json()), "args.json")) == params


def test_the_flag_system_takes_a_file_and_the_parameter_a_text(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("You are kind.\nAnd brief.")
    assert resolve(read_flags({"system": str(file)})).template.system == "You are kind.\nAnd brief."
    with pytest.raises(ConfigError, match=r"--system: .*absent\.txt cannot be read: No such file"):
        resolve(read_flags({"system": str(tmp_path / "absent.txt")}))
    with pytest.raises(ConfigError, match=r"is read by the flag alone \(--system prompt\.txt\)"):
        resolve(read_overrides(["system=prompt.txt"]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:pa@ss@host:5000/x: no", "at http://•••@host:5000/x: no"),
        ("postgresql+psycopg2://me:pw@db/mlflow", "postgresql+psycopg2://•••@db/mlflow"),
        ("(http://token@host) https://host/a@b?x=1", "(http://•••@host) https://host/a@b?x=1"),
        ("https://host/?api_key=abc&x=1&X-Amz-Signature=d", "https://host/?api_key=•••&x=1&X-Amz-Signature=•••"),
    ],
)
def test_credentials_in_addresses_are_masked_in_every_message(text: str, shown: str) -> None:
    assert str(ConfigError(text)) == shown and repr(ConfigError(text)) == f"ConfigError({shown!r})"


@pytest.mark.parametrize("content", [b"\x00\xffgarbage", b"lora: \x80"])
def test_a_parameter_file_that_is_no_text_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"params\.yaml: not a text file in UTF-8: .+") as caught:
        load(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)
