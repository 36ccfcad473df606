"""PPO's quantities beside those of TRL 1.12, the last with a PPO trainer, on the answers that TRL samples.

    uv pip install --no-deps --target /tmp/trl trl==1.12.0
    python -m benchmarks.ppo_parity /tmp/trl

TRL trains a tiny Qwen3 with random weights, its own value model and a reward model, and answers of one length (where
answers end earlier, TRL gives the reward to the place behind the end token, Martlet to the end token). What TRL holds
when it whitens advantages (log probabilities, values, scores) goes through Martlet's functions: rewards of tokens,
advantages, returns, and the losses of the first optimizer step. Printed are the greatest differences.
"""

import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from components.config import Params
from components.training.advantages import generalised, whitened
from components.training.policy_losses import PolicyTokens, ppo

TOKENS, ANSWER, PROMPTS = 4000, 12, 8
SETTINGS: list[dict[str, Any]] = [
    {"kl_coef": 0.05, "gamma": 1.0, "lam": 0.95},
    {"kl_coef": 0.5, "gamma": 0.9, "lam": 0.5, "whiten_rewards": True, "cliprange": 0.1, "cliprange_value": 0.05},
]


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{n}": n for n in range(TOKENS - 2)} | {"<pad>": TOKENS - 2, "<eos>": TOKENS - 1}
    own = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=own, pad_token="<pad>", eos_token="<eos>")


def recorded(settings: dict[str, Any], folder: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Let TRL take a step; return what its training held when the advantages were whitened, and its figures."""
    from datasets import Dataset
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # type: ignore[import-not-found]

    held: dict[str, Any] = {}
    whiten = ppo_trainer.masked_whiten

    def noted(values: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True) -> torch.Tensor:
        result = whiten(values, mask, shift_mean)
        frame = inspect.currentframe()
        if shift_mean and frame and frame.f_back:
            names = ("logprobs", "ref_logprobs", "values", "scores", "rewards")
            held.update({name: frame.f_back.f_locals[name].clone() for name in names}, advantages=result.clone())
        return result

    ppo_trainer.masked_whiten = noted
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 2, "head_dim": 16, "vocab_size": TOKENS, "pad_token_id": TOKENS - 2}  # fmt: skip
    torch.manual_seed(0)
    policy, reference = (Qwen3ForCausalLM(Qwen3Config(**shape)) for _ in range(2))
    value, reward = (Qwen3ForSequenceClassification(Qwen3Config(num_labels=1, **shape)) for _ in range(2))
    rows = Dataset.from_dict({"input_ids": [[n, n + 1, n + 2] for n in range(PROMPTS)]})
    config = PPOConfig(
        output_dir=folder, report_to="none", use_cpu=True, bf16=False, per_device_train_batch_size=PROMPTS,
        gradient_accumulation_steps=1, num_mini_batches=1, num_ppo_epochs=1, total_episodes=PROMPTS,
        response_length=ANSWER, num_sample_generations=0, **settings,
    )  # fmt: skip
    trainer = PPOTrainer(
        config, tokenizer(), policy, reference, reward_model=reward, value_model=value, train_dataset=rows,
        eval_dataset=rows,
    )  # fmt: skip
    trainer.train()
    ppo_trainer.masked_whiten = whiten
    [figures] = [entry for entry in trainer.state.log_history if "loss/policy_avg" in entry]
    return held, figures


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.flatten() - theirs.flatten()).abs().max())


def compare(settings: dict[str, Any]) -> dict[str, float]:
    """Return by quantity the greatest difference between Martlet's and TRL's."""
    with tempfile.TemporaryDirectory() as folder:
        held, figures = recorded(settings, folder)
    params = Params.model_validate({"ppo": settings})
    owners = torch.arange(PROMPTS).repeat_interleave(ANSWER)
    is_last = torch.arange(1, PROMPTS * ANSWER + 1) % ANSWER == 0
    old, reference, values = (held[name].flatten() for name in ("logprobs", "ref_logprobs", "values"))
    rewards = -params.ppo.kl_coef * (old - reference) + is_last * held["scores"][owners]
    if params.ppo.whiten_rewards:
        rewards = whitened(rewards, keeps_mean=True)
    gains = generalised(rewards, values, owners, params.ppo.gamma, params.ppo.lam)
    advantages = whitened(gains)
    lengths = torch.full_like(old, ANSWER)
    tokens = PolicyTokens(old, torch.ones_like(old), torch.zeros_like(old), advantages, lengths, owners)
    return {
        "rewards": difference(rewards, held["rewards"]),
        "advantages": difference(advantages, held["advantages"]),
        "policy loss": abs(float(ppo.losses(tokens, params).mean()) - figures["loss/policy_avg"]),
        "value loss": abs(float(gains.square().mean()) / 2 - figures["loss/value_avg"]),
        "spread of the advantages": float(held["advantages"].std()),
    }


def main() -> None:
    sys.path.insert(0, str(Path(sys.argv[1]).resolve()))
    for settings in SETTINGS:
        print(settings)
        for name, value in compare(settings).items():
            print(f"  {name:<26}{value:.2e}")


if __name__ == "__main__":
    main()
