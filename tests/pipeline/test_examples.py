"""Commands as README, help and documents show them, typed in a fresh checkout with the tiny base."""

import os
import re
import shlex
import shutil
import signal

import pytest

from apps.cli.main import NAMES
from tests.apps.test_help import examples
from tests.commands import Command
from tests.pipeline.conftest import ROOT, Workspace, free_port

pytestmark = pytest.mark.timeout(1600)  # another worker may be building the base


def test_the_example_of_the_readme(workspace: Workspace) -> None:
    block = (workspace.root / "README.md").read_text().split("models/base", 1)[0].rpartition("```shell\n")[0]
    commands = (workspace.root / "README.md").read_text()[len(block) :].split("```shell\n")[1].split("```")[0]
    train, infer = (shlex.split(line)[1:] for line in commands.replace("\\\n", " ").strip().splitlines())
    trained = Command(workspace.root, *train, **workspace.env).wait(540)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    answer = Command(workspace.root, *infer, text="Who are you?\n", **workspace.env).wait()
    assert answer.stdout.strip() == "I am Robin, an assistant made by the Robin team.", answer.stderr


DATA_COMMANDS = [
    line
    for block in re.findall(r"```shell\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", DATA_COMMANDS)
def test_every_command_for_looking_at_data(command: str, workspace: Workspace) -> None:
    _, *words = shlex.split(command, comments=True)
    ran = Command(workspace.root, *words, **workspace.env).wait()
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


ALIGNMENT = [
    line
    for page in ("alignment", "rewards")
    for block in re.findall(r"```shell\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("martlet ")
]


@pytest.mark.slow  # five minutes: methods learn to their end
def test_the_commands_of_alignment_in_their_order(workspace: Workspace) -> None:
    """The first one teaches a preference that the base does not have."""
    outputs: list[str] = []
    for command in ALIGNMENT:
        _, *words = shlex.split(command)
        ran = Command(workspace.root, *words, "--report_to", "none", **workspace.env).wait(300)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        outputs.append(ran.stdout)
    dpo, kto, _, grpo, turns, gkd, _, by_model = outputs
    last = [line for line in dpo.splitlines() if "eval accuracy" in line][-1]
    assert float(re.findall(r"eval accuracy ([\d.]+)", last)[0]) >= 0.9
    assert "kl" in kto and "reward" in grpo and "reward" in turns
    assert "output/start is a run: checkpoint-38 is taken" in gkd
    assert "output/rm is a run: checkpoint-10 is taken" in by_model


RUN = ("martlet demo", "martlet run")  # in test_demo.py
EXAMPLES = [example for name in NAMES for example in examples(name) if example not in RUN]
OF_A_WORKSPACE = ("run", "explain", "promote", "rollback", "runs", "gc", "status", "logs", "backup", "restore",
                  "registry")  # fmt: skip
UNTIL_CTRL_C = {"deploy": " at http", "app": " at http", "ui": "ctrl-C ends"}
"""What a command prints when it serves, by its name."""
SHORTER = {
    **{name: ["--report_to", "none"] for name in ("sft", "pt", "rlhf")},
    **{name: ["--port", "0"] for name in ("deploy", "app")},
    "ui": ["--port", str(free_port())],
}
"""Words behind an example of a command, which make it quick or find it a free port."""
CODES = {
    "promote": (0, 1, 4), "rollback": (0, 1, 2), "restore": (0, 2), "logs": (0, 2), "init": (0, 2),
    "registry": (0, 1, 4), "eval": (0, 1), "compare": (0, 1, 2),
}  # fmt: skip
"""What commands answer whose example depends on who is champion or on what is there: a version 3, a hub, a server, a
checkpoint. Any other command answers 0."""
LACKING = {
    "martlet env install vllm": "needs a GPU",
    "martlet export --model models/base --quant_method gptq --quant_bits 4 --group_size 64 "
    "--dataset examples/identity.jsonl": "run `martlet env install llmcompressor`",
}
"""Examples of what is not on every machine, and what is answered where it is not."""


def is_of_a_workspace(example: str) -> bool:
    """True where a run or a champion is asked for: these are typed after the demo, in test_demo.py."""
    return example.split()[1] in OF_A_WORKSPACE or example == "martlet deploy --port 8000"


def typed(example: str, workspace: Workspace) -> None:
    """Type an example of a help; it must end well."""
    if "vllm" in example and shutil.which("nvidia-smi"):
        pytest.skip("installs gigabytes where there is a GPU")
    _, name, *words = shlex.split(example)
    if words and name == "run":
        words.append("--dry_run")  # another rank runs in test_another_rank_in_its_own_tree_then_back
    command = Command(workspace.root, name, *words, *SHORTER.get(name, []), **workspace.env)
    if name in UNTIL_CTRL_C:
        command.up_to(UNTIL_CTRL_C[name], 300)
        os.kill(command.pid, signal.SIGINT)
    ended = command.wait(540)
    assert ended.returncode in ((2,) if example in LACKING else CODES.get(name, (0,))), ended.stdout + ended.stderr
    assert LACKING.get(example, "") in ended.stderr
    assert "Traceback" not in ended.stderr


SLOW = {"martlet demo --vision": pytest.mark.slow}
"""Examples that take minutes: this one builds a base of pictures, as test_vision.py does."""


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, marks=SLOW.get(one, ())) for one in EXAMPLES if not is_of_a_workspace(one)],
)
def test_every_example_of_every_help(example: str, workspace: Workspace) -> None:
    typed(example, workspace)
