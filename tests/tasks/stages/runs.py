"""A run folder as it is when training has ended: clean rows, tokens, and an adapter with random matrices."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.config import Params
from components.export import Samples
from components.models import resolve
from tasks.stages import methods, template
from tasks.stages.paths import Paths

QUESTIONS = ["What is your name?", "你好", "Name a colour.", "Count to three.", "Who made you?"]
ANSWERS = ["Martlet.", "您好 🙂", "Blue, by and large.", "one two three", "The Martlet team."]


@dataclass(frozen=True)
class Run:
    paths: Paths
    params: Params
    chats: list[list[dict[str, str]]]
    rows: list[list[int]]
    """The token ids of all chats, as the base's tokenizer gives them."""

    @property
    def samples(self) -> Samples:
        return Samples(self.rows, [row[:8] for row in self.rows], "rows", [])

    @property
    def base(self) -> Path:
        return self.paths.root / "base"

    def at(self, root: Path) -> "Run":
        return replace(self, paths=Paths(root, root))


def finished_training(root: Path, base: Path) -> Run:
    paths, params = Paths(root, root), Params.model_validate({"lora": {"lora_rank": 4}})
    shutil.copytree(base, root / "base")
    chats = [
        [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        for q, a in zip(QUESTIONS, ANSWERS, strict=True)
    ]
    paths.clean.mkdir(parents=True)
    table = [{"messages": chat, "source": "chats.jsonl", "row": n} for n, chat in enumerate(chats, 1)]
    pq.write_table(pa.Table.from_pylist(table), paths.clean / "train.parquet")
    identity = resolve("base", None, use_hf=False, workspace=root)
    paths.model.write_text(json.dumps(identity))
    paths.methods.write_text(json.dumps(methods.used(params, root)))
    template.run(params, paths)

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    model.save_pretrained(str(paths.adapter))
    arguments = {
        "model": identity,
        "tuner": params.tuner.model_dump(),
        "lora": params.lora.model_dump(),
        "train": params.train.model_dump(),
    }
    (paths.adapter / "args.json").write_text(json.dumps(arguments))
    paths.reports.mkdir()
    (paths.reports / "train.json").write_text(json.dumps({"steps": 3, "loss": 0.5, "eval_loss": 0.25}))
    tokenizer = AutoTokenizer.from_pretrained(root / "base")
    return Run(paths, params, chats, [tokenizer.apply_chat_template(chat, return_dict=False) for chat in chats])
