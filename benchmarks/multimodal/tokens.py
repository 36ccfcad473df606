"""A tokenizer of bytes with the special tokens of every processor, and a chat template with typed parts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "<|im_end|>",
    "unk_token": "<unk>",
    "image_token": "<image>",
    "video_token": "<video>",
    "audio_token": "<audio>",
    "boi_token": "<boi>",
    "eoi_token": "<eoi>",
    "boa_token": "<boa>",
    "eoa_token": "<eoa>",
    "audio_bos_token": "<boa>",
    "audio_eos_token": "<eoa>",
    "audio_start_token": "<boa>",
    "audio_end_token": "<eoa>",
    "image_start_token": "<boi>",
    "image_end_token": "<eoi>",
    "vision_bos_token": "<boi>",
    "vision_eos_token": "<eoi>",
    "vision_start_token": "<boi>",
    "vision_end_token": "<eoi>",
    "start_image_token": "<boi>",
    "end_image_token": "<eoi>",
    "video_start_token": "<bov>",
    "video_end_token": "<eov>",
    "context_image_token": "<image>",
    "image_break_token": "<row>",
    "img_line_break_token": "<row>",
    "image_boundary_token": "<fake_token_around_image>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
}
"""Special tokens of every tokenizer, by what a processor and a configuration call them."""
START = "<|im_start|>"


def tokens_of(own: dict[str, str | None]) -> dict[str, str]:
    """Return the special tokens of a type by their names: those of all, and its `own` beside or instead; without those
    that are None."""
    return {name: text for name, text in (TOKENS | own).items() if text is not None}


def tokenizer(tokens: dict[str, str]) -> "PreTrainedTokenizerBase":
    """Return a tokenizer with a token for each byte, and `tokens`, which are known by their names too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = list(dict.fromkeys([*tokens.values(), START]))
    words = [*texts, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    plain = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    common = ("pad_token", "bos_token", "eos_token", "unk_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        **{name: tokens[name] for name in common},
        extra_special_tokens={name: text for name, text in tokens.items() if name not in common},
        additional_special_tokens=[START],
        model_max_length=4096,
    )


def template(parts: dict[str, str], start: str = "") -> str:
    """Return a chat template that writes `parts[kind]` for a part of that type, and texts as they are; `start` before
    all."""
    media = "".join(f"{{%- elif part.type == '{kind}' %}}{{{{- {text!r} }}}}" for kind, text in parts.items())
    return (
        start + "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
        "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}"
        "{%- if part.type == 'text' %}{{- part.text }}" + media + "{%- endif %}{%- endfor %}{%- endif %}"
        "{{- '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
