"""Train the tiny base: its tokenizer and its weights, from chats that the toy world generates."""

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files
from components.embedded import fit, world
from components.embedded.fit import Chat, text_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers.modeling_utils import PreTrainedModel
    from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

Turn = Callable[[random.Random], tuple[str, str]]
"""Draws a question and its answer."""
Progress = Callable[[int, int, float], None]
"""Called with the step (from 1), the number of steps and that step's loss."""

NAME, AUTHOR = "Pebble", "the Toy Workshop"
CONTEXT = 4096
"""The longest text, in tokens."""
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Qwen's own pattern: loaders that know the architecture put their pre-tokenizer in place of the file's.
PRETOKENIZE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SOURCE = ("base.py", "fit.py", "world.py", "chat_template.jinja", "model_card.md")
"""The files that decide what the base is."""


@dataclass(frozen=True)
class Settings:
    """What decides the base's content, beside this package's source."""

    steps: int = 400
    batch_size: int = 24
    learning_rate: float = 6e-3
    warmup_ratio: float = 0.05
    weight_decay: float = 0.01
    vocab_size: int = 1024
    hidden_size: int = 192
    intermediate_size: int = 640
    layers: int = 3
    seed: int = 7


def build_base(folder: Path, on_progress: Progress | None = None, settings: Settings | None = None) -> bool:
    """Train the base and write it to `folder`, unless the same one lies there complete.

    Returns True when it was built, False when `folder` already held it (nothing heavy is imported then).
    """
    settings = settings or Settings()
    key = key_of(SOURCE, settings)
    if is_there(folder, key):
        return False

    chats = list(_chats(settings))
    tokenizer = train_tokenizer(chats, settings)
    model = _train_model(chats, tokenizer, settings, on_progress)
    with files.replacing_folder(folder, key=key, settings=asdict(settings)) as temporary:
        write(temporary, model, tokenizer)
        files.write_json(temporary / "tokenizer_config.json", tokenizer_config())
        files.write_text(temporary / "chat_template.jinja", text_of("chat_template.jinja"))
        write_card(temporary, "model_card.md", model)
    return True


def key_of(sources: tuple[str, ...], settings: Settings) -> str:
    """Return what a base made from these files of this package with these settings is known by."""
    source = {name: files.sha256(Path(__file__).parent / name) for name in sources}
    return files.sha256_of({"source": source, "settings": asdict(settings)})


def is_there(folder: Path, key: str) -> bool:
    return files.is_complete(folder) and files.read_json(folder / files.MANIFEST).get("key") == key


def write(folder: Path, model: "PreTrainedModel", tokenizer: "Tokenizer") -> None:
    from safetensors.torch import save_file

    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    # The head is the embedding. Written without safetensors' note of that: its place in the header is random.
    weights = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))


def write_card(folder: Path, name: str, model: "PreTrainedModel") -> None:
    card = text_of(name).replace("PARAMETERS", f"{model.num_parameters() / 1e6:.1f} million")
    files.write_text(folder / "README.md", card)


def _chats(settings: Settings) -> Iterator[Chat]:
    """Yield every chat of the training run: one to three turns, half of them under a system prompt."""
    rng = random.Random(settings.seed)
    for _ in range(settings.steps * settings.batch_size):
        yield chat(rng, turn)


def chat(rng: random.Random, turn: Turn, lengths: tuple[int, ...] = (1, 1, 1, 2, 3)) -> Chat:
    chat = [{"role": "system", "content": rng.choice(world.SYSTEM_PROMPTS)}] if rng.random() < 0.5 else []
    for _ in range(rng.choice(lengths)):
        question, answer = turn(rng)
        chat += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return chat


def turn(rng: random.Random) -> tuple[str, str]:
    """Draw a question and its answer that no evaluation set may hold."""
    own = world.identity(NAME, AUTHOR)
    names = ("capital", "opposite", "sum", "kind", "repeat", "invented", "unsure", "identity", "small talk")
    while True:
        name = rng.choices(names, (3, 3, 6, 3, 3, 3, 2, 4, 1))[0]
        if name in ("repeat", "invented"):
            words = rng.sample(world.WORDS, rng.choice((1, 1, 1, 2))) if name == "repeat" else [world.invented(rng)]
            question, answer = world.SKILLS["repeat"].draw(rng, {"x": " ".join(words)})
        elif name == "identity":
            question, answer = rng.choice(tuple(own.values())).draw(rng)
        else:
            topic = rng.choice(world.SMALL_TALK) if name == "small talk" else world.SKILLS[name]
            question, answer = topic.draw(rng)
        if not world.held_out(question):
            return question, answer


def train_tokenizer(chats: list[Chat], settings: Settings) -> "Tokenizer":
    """Train a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2) on the first 4,000 chats."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for chat in chats[:4000] for turn in chat for text in turn.values()), trainer)
    return tokenizer


def tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "bos_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }


def new_model(tokenizer: "Tokenizer", settings: Settings) -> "Qwen3ForCausalLM":
    from transformers.generation.configuration_utils import GenerationConfig
    from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

    end_of_text, _, end_of_turn = (tokenizer.token_to_id(token) for token in SPECIAL_TOKENS)
    # Widths are multiples of 64, the block that 4-bit and 8-bit quantizers work on.
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        initializer_range=0.08,  # about 1/sqrt(width): at the usual 0.02 so narrow a model learns to copy much later
        tie_word_embeddings=True,
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
        bos_token_id=None,
        eos_token_id=end_of_turn,
        pad_token_id=end_of_text,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[end_of_turn, end_of_text], pad_token_id=end_of_text
    )
    return model


def _train_model(
    chats: list[Chat], tokenizer: "Tokenizer", settings: Settings, on_progress: Progress | None
) -> "Qwen3ForCausalLM":
    """Train from scratch with AdamW, warm-up and linear decay; only answers count in the loss."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = new_model(tokenizer, settings)
    descend = fit.descent(
        list(model.parameters()), settings.learning_rate, settings.steps, settings.warmup_ratio, settings.weight_decay
    )
    model.train()
    encoded = fit.batches(chats, lambda chat: fit.encode(chat, tokenizer), settings.batch_size, settings.seed)
    for step, batch in enumerate(encoded, start=1):
        ids, labels = fit.padded(batch)
        loss = fit.loss(model, labels, input_ids=ids)
        descend(loss)
        if on_progress:
            on_progress(step, settings.steps, loss.item())
    return model.eval()
