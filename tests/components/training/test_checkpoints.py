"""Checkpoints: complete or absent, and a run that was stopped ends as if it had not been."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.config.groups.quantization import Quantization
from components.errors import ConfigError, MartletError
from components.files import is_complete, seal, sha256
from components.models import QUANTIZATIONS, quantization
from components.training import CALLBACKS, OPTIMIZERS, Outcome, fingerprint, resuming, tidy
from components.training import checkpoints as store
from components.training.best import Measure
from components.tuners import TUNERS
from components.tuners._files import WEIGHTS
from tests.components.models.quantized import published
from tests.components.training import runs

TOTAL = 8
"""Steps of a run; a checkpoint follows every second."""


@pytest.fixture(scope="module")
def whole(apart, tmp_path_factory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert apart(folder) == 0
    return folder


def said(folder: Path) -> list[str]:
    lines = (json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines())
    return [line["message"] for line in lines if "message" in line]


def assert_equal_runs(first: Path, second: Path) -> None:
    assert sha256(first / "final" / WEIGHTS) == sha256(second / "final" / WEIGHTS)
    a, b = (json.loads((folder / "final/history.json").read_text()) for folder in (first, second))
    assert a == b
    assert len([entry for entry in a if "loss" in entry]) == TOTAL


@pytest.mark.parametrize(
    ("hazard", "workers", "resumed"),
    [
        (("kill", 1), 0, None),
        (("kill", 7), 2, 6),
        (("kill_in_save", 3), 0, 4),
    ],
)
def test_killed_at_any_point_a_run_ends_as_if_nothing_had_happened(apart, whole, tmp_path, hazard, workers, resumed):
    assert apart(tmp_path, hazard, workers) == -9
    assert apart(tmp_path, workers=workers) == 0
    assert_equal_runs(tmp_path, whole)
    assert (f"going on from checkpoint-{resumed}" in said(tmp_path)) == (resumed is not None)
    assert any("cut off" in message for message in said(tmp_path)) == (hazard[0] == "kill_in_save")


OWN = {
    "llamapro": {"llamapro_num_new_blocks": 2},
    "vera": {"vera_rank": 8},
    "galore": {"galore_rank": 4, "galore_update_proj_gap": 3},
    "lisa": {"lisa_activated_layers": 1, "lisa_step_interval": 2},
    "adalora": {"adalora_init_r": 4, "adalora_target_r": 2, "adalora_tinit": 1, "adalora_tfinal": 3,
                "adalora_delta_t": 1},  # the ranks are final before the checkpoint
    "adamw_8bit": {"tuner_type": "full"},  # whose matrices are large enough for moments of eight bits
    "muon": {"tuner_type": "full"},  # whose norms it leaves to AdamW
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "packs": {"packing": True, "packing_length": 40, "per_device_train_batch_size": 1},
    "groups": {"group_by_length": True},
    "noise": {"neftune_noise_alpha": 5.0},
    "q-galore": {
        "tuner_type": "full",
        "optimizer": "galore",
        "galore_rank": 4,
        "galore_update_proj_gap": 1,
        "galore_quantization": True,
        "galore_queue_size": 2,
        "galore_cos_threshold": 0.1,
        "galore_proj_quant": True,
    },
    "eva": {"init_weights": "eva"},  # whose ranks are the checkpoint's
    "loftq": {"init_weights": "loftq", "quant_method": "bnb"},
}


def ways_to_learn() -> dict[str, dict[str, Any]]:
    """Every tuner, optimizer and callback with what it needs."""
    ways = {name: {"tuner_type": name} for name in TUNERS.names()}
    for kind, of_many in ((OPTIMIZERS, False), (CALLBACKS, True)):
        for name in set(kind.names()) - {"adamw"}:
            tuner = kind.constant(name, "TUNERS", ("lora",))[0]
            ways[name] = {"tuner_type": tuner, kind.parameter: [name] if of_many else name}
    return {name: {**way, **OWN.get(name, {})} for name, way in sorted(ways.items())} | WAYS


SLOW = (
    "adapter", "boft", "fourierft", "ia3", "loha", "lokr", "oft", "sgd", "vera",
    "dora", "reft", "prefix_tuning", "llamapro", "loraplus", "lion", "adafactor", "q-galore", "noise",
)  # fmt: skip
"""Ways that keep no state of their own between steps, or state of a kind that another way keeps too: what holds for
LoRA with AdamW, full training and GaLore holds for them; run by -m slow."""


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ways_to_learn()]
)
def test_every_way_to_learn_goes_on_to_the_same_weights(tiny_model, tokens, tmp_path, name):
    """From a checkpoint, as a run that was killed later leaves it; the ways take turns with its steps."""
    settings = {"max_steps": 6, "save_steps": 2, "learning_rate": 1e-3, "lora_dropout": 0.1, **ways_to_learn()[name]}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    outcome = runs.learn(tiny_model, tokens, whole, **settings)
    history = outcome.history
    assert outcome.parameters > outcome.trainable > 0 or settings["tuner_type"] == "full"
    last = f"checkpoint-{2 + 2 * (len(name) % 2)}"
    shutil.copytree(whole / "checkpoints" / last, cut / "checkpoints" / last)
    assert runs.learn(tiny_model, tokens, cut, **settings).history == history
    assert f"going on from {last}" in said(cut)
    before, after = ({f.name: sha256(f) for f in (run / "final").glob("*.safetensors")} for run in (whole, cut))
    assert after == before
    states = [sha256(run / "checkpoints/checkpoint-6/optimizer.pt") for run in (whole, cut)]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "method",
    ["bnb", "fp8", *(pytest.param(m, marks=pytest.mark.slow) for m in ("hqq", "quanto", "torchao", "gptq", "awq"))],
)
def test_a_killed_run_on_a_quantized_base_ends_as_if_it_had_not_been(apart, tiny_model, tmp_path, method):
    """The slow ones need packages that a plain installation has not."""
    settings: dict[str, Any] = {"num_train_epochs": 1, "save_steps": 1, "eval_steps": 1}
    if method in QUANTIZATIONS.names():
        settings |= {"quant_method": method, "quant_bits": 4 if method == "bnb" else 8}
    else:
        settings["base"] = published(tiny_model, tmp_path / "base", method)
    stored = None if method in QUANTIZATIONS.names() else {"quant_method": method}
    if sentences := quantization.problems(
        stored, Quantization(quant_method=settings.get("quant_method"), quant_bits=8)
    ):
        pytest.skip(sentences[0])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert apart(whole, **settings) == 0
    assert apart(cut, ("kill", 3), **settings) == -9
    assert apart(cut, **settings) == 0
    assert "going on from checkpoint-2" in (cut / "progress.jsonl").read_text()
    assert sha256(cut / "final" / WEIGHTS) == sha256(whole / "final" / WEIGHTS)


ENDS = """\
from transformers.trainer_callback import TrainerCallback

class Ends(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop |= state.global_step >= 5

def callback(job):
    return Ends()
"""


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("ways", "last"),
    [
        ({"max_steps": 7, "lr_scheduler_type": "constant"}, 7),
        ({"num_train_epochs": 0.6, "save_total_limit": 1}, 3),
        ({"callbacks": ["ends"], "num_train_epochs": 3, "lr_scheduler_type": "constant"}, 5),
    ],
)
def test_the_last_step_is_the_last_whoever_asks_again(tiny_model, tokens, tmp_path, ways, last):
    (tmp_path / "ends.py").write_text(ENDS)
    results = []
    for _ in range(3):
        outcome = runs.learn(tiny_model, tokens, tmp_path / "run", external=[tmp_path / "ends.py"], **ways)
        assert outcome.steps == last
        assert outcome.last == f"checkpoint-{last}"
        names = [folder.name for folder in store.all_in(tmp_path / "run/checkpoints")]
        results.append((sha256(tmp_path / "run/final" / WEIGHTS), outcome.history, names))
    assert results[0] == results[1] == results[2]


RUINS = """\
from transformers.trainer_callback import TrainerCallback

class Ruins(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == 4:
            next(w for w in model.parameters() if w.requires_grad).data.fill_(float("nan"))

def callback(job):
    return Ruins()
"""


def test_a_weight_that_is_no_number_is_in_no_checkpoint(tiny_model, tokens, tmp_path):
    (tmp_path / "ruins.py").write_text(RUINS)
    settings = {"max_steps": 6, "save_steps": 2, "callbacks": ["ruins"], "external": [tmp_path / "ruins.py"]}
    with pytest.raises(MartletError, match=r"the weight .*lora_A.* is no number after step 4"):
        runs.learn(tiny_model, tokens, tmp_path / "run", **settings)
    assert [folder.name for folder in store.all_in(tmp_path / "run/checkpoints")] == ["checkpoint-2"]


@pytest.mark.parametrize("hazard", ["interrupt", "terminate"])
def test_asked_to_stop_a_run_writes_a_checkpoint_and_exits_with_130(apart, whole, tmp_path, hazard):
    assert apart(tmp_path, (hazard, 3)) == 130
    assert (
        "step 4 of 8" in (tmp_path / "error.txt").read_text() or "step 3 of 8" in (tmp_path / "error.txt").read_text()
    )
    assert is_complete(store.all_in(tmp_path / "checkpoints")[-1])
    assert apart(tmp_path) == 0
    assert_equal_runs(tmp_path, whole)


def test_a_disk_that_is_full_in_mid_checkpoint_leaves_the_one_before(apart, whole, tmp_path):
    assert apart(tmp_path, ("full_disk", 2)) == 1
    message = (tmp_path / "error.txt").read_text()
    assert "checkpoint at step 4 could not be written" in message
    assert "go on from checkpoint-2" in message
    assert [p.name for p in (tmp_path / "checkpoints").glob("check*")] == ["checkpoint-2"]
    assert apart(tmp_path) == 0
    assert_equal_runs(tmp_path, whole)


def test_two_runs_do_not_share_a_folder(apart, tmp_path):
    with store.held(tmp_path / "checkpoints"):
        assert apart(tmp_path) == 1
    assert "another process trains" in (tmp_path / "error.txt").read_text()
    assert apart(tmp_path) == 0


def test_a_checkpoint_stands_on_its_own_and_holds_no_pickled_arguments(whole):
    checkpoint = whole / "checkpoints/checkpoint-8"
    names = {p.name for p in checkpoint.iterdir()}
    assert names >= {"adapter_config.json", WEIGHTS, "args.json", "tokenizer.json", "chat_template.jinja"}
    assert "training_args.bin" not in names
    assert set(json.loads((checkpoint / "args.json").read_text())) == {"model", "template", "tuner", "train"}
    assert sha256(checkpoint / WEIGHTS) == sha256(whole / "final" / WEIGHTS)


def test_damage_of_any_kind_is_skipped_and_said(whole, tmp_path):
    folder = Path(shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints"))
    (folder / "checkpoint-8/manifest.json").unlink()
    weights = folder / "checkpoint-6" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (folder / "checkpoint-4/optimizer.pt").write_bytes(b"")
    messages: list[str] = []
    assert store.newest_intact(folder, messages.append) == folder / "checkpoint-2"
    assert [m.split()[0] for m in messages] == ["checkpoint-8", "checkpoint-6", "checkpoint-4"]
    assert [p.name for p in store.all_in(folder)] == ["checkpoint-2"]


@pytest.mark.parametrize(
    "manifest",
    [
        "", "nonsense", "[]", "7", "null", '{"files": 3}', '{"files": []}', '{"files": {"optimizer.pt": 7}}',
        '{"run": "a", "step": 8, "made_of": {}, "files": {}}', "without made_of", "without run", "without a file",
        "of another step",
    ],
)  # fmt: skip
def test_a_manifest_of_another_shape_makes_no_checkpoint(whole, tmp_path, manifest):
    checkpoint = Path(shutil.copytree(whole / "checkpoints/checkpoint-8", tmp_path / "checkpoint-8"))
    content = json.loads((checkpoint / "manifest.json").read_text())
    if manifest == "without a file":
        del content["files"][WEIGHTS]
    elif manifest == "of another step":
        content["step"] = 6
    else:
        content.pop(manifest.removeprefix("without "), None)
    changed = json.dumps(content) if manifest.startswith(("without", "of")) else manifest
    (checkpoint / "manifest.json").write_text(changed)
    arguments = json.loads((checkpoint / "args.json").read_text())
    with pytest.raises(ConfigError, match=r"checkpoint-8 is not a complete checkpoint: .*; name another$"):
        store.choose_start(tmp_path, {"run": "a"}, arguments, checkpoint, print)
    assert checkpoint.is_dir()
    messages: list[str] = []
    assert store.choose_start(tmp_path, {"run": "a"}, arguments, None, messages.append) is None
    aside = tmp_path / "aside"
    assert messages == [f"checkpoint-8 was damaged or edited since it was written; moved to {aside}"]
    assert (aside / "checkpoint-8" / WEIGHTS).is_file()


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def resealed(folder: Path) -> None:
    """Write a manifest for a checkpoint as it is now, as somebody does who edits one by hand."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    seal(folder, **{name: manifest[name] for name in ("run", "step", "made_of")})


@pytest.mark.parametrize(
    ("damage", "again", "reason"),
    [
        (lambda f: (f / "manifest.json").unlink(), False, "it has no manifest.json, as if it had been cut off"),
        (lambda f: (f / "optimizer.pt").unlink(), False, "optimizer.pt is missing"),
        (lambda f: (f / "optimizer.pt").unlink(), True, "there is no optimizer.pt"),
        (lambda f: os.truncate(f / "optimizer.pt", 100), False, r"optimizer.pt has 100 bytes instead of [\d,]+"),
        (lambda f: edit(f / "args.json", model={}), False, "args.json (was damaged|has .* bytes)"),
        (lambda f: shutil.copy(f / "optimizer.pt", f / "old.pt"), False, "old.pt does not belong to it"),
        (lambda f: edit(f / "trainer_state.json", global_step=9), True, "its trainer_state.json is of step 9"),
        (lambda f: (f / "args.json").write_text("{"), True, "trainer_state.json or args.json is damaged"),
        (lambda f: edit(f / "manifest.json", step=6), False, "it was written as checkpoint-6"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(whole, tmp_path, damage, again, reason):
    checkpoint = Path(shutil.copytree(whole / "checkpoints/checkpoint-8", tmp_path / "checkpoint-8"))
    shutil.copytree(whole / "checkpoints/checkpoint-4", tmp_path / "checkpoint-4")
    damage(checkpoint)
    if again:
        resealed(checkpoint)
    with pytest.raises(ConfigError, match=rf"{reason}.*; name another \(checkpoint-4\)$"):
        resuming.require_intact(checkpoint)
    with pytest.raises(ConfigError, match="it is the folder of a run with checkpoint-4, checkpoint-8"):
        resuming.require_intact(tmp_path)


def test_checkpoints_of_another_run_are_neither_used_nor_removed(whole, tmp_path):
    folder = Path(shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints"))
    (folder / "checkpoint-8/manifest.json").write_text("{}")
    arguments = json.loads((folder / "checkpoint-6/args.json").read_text())
    with pytest.raises(ConfigError, match=r"checkpoint-6 of a run with other data or parameters \(run a → b\); go on"):
        store.choose_start(folder, {"run": "b"}, arguments, None, print)
    other = {**arguments, "train": {**arguments["train"], "seed": 1}}
    with pytest.raises(ConfigError, match=r"put these back, or name another --output_dir:\n  --seed was 42 and is 1"):
        store.choose_start(folder, {"run": "b"}, other, None, print)
    assert len(store.all_in(folder)) == 4


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "warmup_ratio", "seed", "optimizer", "packing"])
def test_a_setting_that_a_checkpoint_cannot_take_is_refused_by_name(whole, name):
    checkpoint = whole / "checkpoints/checkpoint-8"
    arguments = json.loads((checkpoint / "args.json").read_text())
    other = {**arguments, "train": {**arguments["train"], name: "another"}}
    with pytest.raises(ConfigError, match=rf"put these back, or start a new run:\n  --{name} was .* and is another$"):
        resuming.check_resumable(checkpoint, {"run": "a"}, other, {})


def test_a_named_checkpoint_must_be_whole_and_of_the_same_base_data_and_plugins(whole, tmp_path):
    checkpoint = Path(shutil.copytree(whole / "checkpoints/checkpoint-8", tmp_path / "checkpoint-8"))
    arguments = json.loads((checkpoint / "args.json").read_text())
    longer = {**arguments, "train": {**arguments["train"], "num_train_epochs": 9, "save_steps": 3}}
    resuming.check_resumable(checkpoint, {"run": "a"}, longer, {})
    for batch, passes in ((1, 4), (4, 1), (4, 2)):
        values = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": passes}
        other = {**arguments, "train": {**arguments["train"], **values}}
        if batch * passes == 4:  # a step has the same rows
            resuming.check_resumable(checkpoint, {"run": "a"}, other, {})
        else:
            with pytest.raises(ConfigError, match=r"--per_device_train_batch_size was 2 and is 4$"):
                resuming.check_resumable(checkpoint, {"run": "a"}, other, {})
    content = json.loads((checkpoint / "manifest.json").read_text())
    content["made_of"] = {"methods": {"optimizer mine": "1"}, "data": {"tokens": "1"}}
    (checkpoint / "manifest.json").write_text(json.dumps(content))
    (tmp_path / "args.json").write_text(json.dumps({"data": {"split_dataset_ratio": 0.0, "dataset": ["a"]}}))
    same = content["made_of"]
    for made_of, args, reason in [
        (same, {**arguments, "model": {"model": "other"}}, "--model was base and is other"),
        (same, {**arguments, "stream": {}}, "--streaming was false and is true"),
        ({**same, "methods": {"optimizer mine": "2"}}, arguments, "the file of the optimizer mine was edited"),
        ({**same, "data": {"tokens": "2"}}, arguments, "--split_dataset_ratio was 0.0 and is 0.1"),
    ]:
        with pytest.raises(ConfigError, match=rf"start a new run:\n  {reason}$"):
            resuming.check_resumable(checkpoint, made_of, args, {"data": {"split_dataset_ratio": 0.1}})
    (checkpoint / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="not a complete checkpoint"):
        resuming.check_resumable(checkpoint, {"run": "a"}, arguments, {})


def test_a_limit_keeps_the_newest_and_the_best(tiny_model, tokens, tmp_path):
    history = [{"step": step, "eval_loss": loss} for step, loss in ((2, 3.0), (4, 1.0), (6, 2.0), (8, 2.5))]
    for step in (2, 4, 6, 8, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert Measure().best_step(history, [2, 6, 8]) == 6
    assert Measure("eval_loss", greater_is_better=True).best_step(history, [4, 6, 8]) == 8
    assert [Measure().evaluations_since_best(history[:n]) for n in range(5)] == [0, 0, 0, 1, 2]
    store.rotate(tmp_path, history, None)
    assert len(store.all_in(tmp_path)) == 5
    store.rotate(tmp_path, history, 3)
    assert [store.step_of(p) for p in store.all_in(tmp_path)] == [4, 8, 10]
    store.rotate(tmp_path, history, 1)
    assert [store.step_of(p) for p in store.all_in(tmp_path)] == [4, 10]
    outcome = runs.learn(tiny_model, tokens, tmp_path / "run", save_total_limit=2)
    kept = [p.name for p in store.all_in(tmp_path / "run/checkpoints")]
    assert len(kept) == 2
    assert {outcome.best, outcome.last} <= set(kept)


def evaluated(outcome: Outcome) -> list[int]:
    return [entry["step"] for entry in outcome.history if "eval_loss" in entry]


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    ("ways", "saved", "evaluations"),
    [
        ({"save_strategy": "epoch", "eval_strategy": "epoch"}, [4, 8], [4, 8]),
        ({"save_strategy": "no", "eval_steps": 3}, [8], [3, 6, 8]),
        ({"save_steps": 3, "eval_strategy": "no"}, [3, 6, 8], []),
        ({"eval_on_start": True, "eval_delay": 5, "save_steps": 4, "eval_steps": 2}, [4, 8], [0, 6, 8]),
    ],
)
def test_checkpoints_and_evaluations_come_by_steps_by_epochs_or_not_at_all(
    tiny_model, tokens, tmp_path, ways, saved, evaluations
):
    outcome = runs.learn(tiny_model, tokens, tmp_path, **ways)
    assert [store.step_of(p) for p in store.all_in(tmp_path / "checkpoints")] == saved
    assert evaluated(outcome) == evaluations
    again = runs.learn(tiny_model, tokens, tmp_path, **ways)  # of a run that has ended nothing is trained
    assert (again.history, again.steps) == (outcome.history, outcome.steps)


def test_a_training_ends_when_its_evaluations_no_longer_become_better(tiny_model, tokens, tmp_path):
    """Whether it was killed or not; and the weights are the best checkpoint's where that is asked for."""
    ways = {"metric_for_best_model": "loss", "greater_is_better": True, "early_stop_interval": 2, "eval_steps": 1,
            "load_best_model_at_end": True, "save_steps": 1}  # fmt: skip
    outcome = runs.learn(tiny_model, tokens, tmp_path / "run", **ways)  # the loss falls: the first one is the best
    losses = [entry["eval_loss"] for entry in outcome.history if "eval_loss" in entry]
    assert len(losses) < TOTAL
    assert losses.index(max(losses)) == len(losses) - 3
    assert (outcome.best, outcome.last) == (f"checkpoint-{len(losses) - 2}", f"checkpoint-{len(losses)}")
    best = tmp_path / "run/checkpoints" / outcome.best
    assert sha256(tmp_path / "run/final" / WEIGHTS) == sha256(best / WEIGHTS)


def test_a_figure_that_evaluations_do_not_have_is_refused_at_the_first(tiny_model, tokens, tmp_path):
    with pytest.raises(ConfigError, match=r"no eval_token_ac \(did you mean 'eval_token_acc'\?\); choose"):
        runs.learn(tiny_model, tokens, tmp_path, metric_for_best_model="token_ac", eval_on_start=True)


def test_success_leaves_best_and_last_and_clears_what_finished_before(tmp_path):
    for run, steps in (("older", [2]), ("unfinished", [2, 4]), ("mine", [2, 4, 6])):
        for step in steps:
            (tmp_path / run / f"checkpoint-{step}").mkdir(parents=True)
    tidy(tmp_path / "older", [])
    tidy(tmp_path / "mine", [{"step": 2, "eval_loss": 0.5}, {"step": 4, "eval_loss": 0.7}])
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("*/checkpoint-*"))
    assert left == ["mine/checkpoint-2", "mine/checkpoint-6", "unfinished/checkpoint-2", "unfinished/checkpoint-4"]


def test_a_fingerprint_changes_with_its_inputs_alone():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 2})


def test_what_changed_since_an_interrupted_run_is_said(whole, tmp_path):
    interrupted = tmp_path / "older"
    shutil.copytree(whole / "checkpoints/checkpoint-4", interrupted / "checkpoint-4")
    messages: list[str] = []
    assert store.choose_start(tmp_path / "mine", {"run": "b"}, {}, None, messages.append, tmp_path) is None
    assert messages == ["checkpoint-4 of an interrupted run is not used, because run a → b: training starts anew"]
    tidy(interrupted, [])
    messages.clear()
    assert store.choose_start(tmp_path / "mine", {"run": "b"}, {}, None, messages.append, tmp_path) is None
    assert messages == []


def test_changes_name_what_is_another():
    before = {"train": {"seed": 1, "learning_rate": 0.1}, "code": {"components/a.py": "0" * 64}}
    now = {"train": {"seed": 1, "learning_rate": 0.2}, "code": {"components/a.py": "1" * 64}}
    assert resuming.changes(before, now) == ["train.learning_rate 0.1 → 0.2", "components/a.py changed"]
