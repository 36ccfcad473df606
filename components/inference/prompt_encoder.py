"""The tokenizer's half of an engine: from texts and conversations to token ids, and back."""

from typing import Any

from components.inference.api import Message, Prompts, RequestError


class PromptEncoder:
    """The methods of a LocalEngine that need the tokenizer alone.

    Args:
        tokenizer: the model's tokenizer.
        prompts: makes the token ids of conversations.
    """

    def __init__(self, tokenizer: Any, prompts: Prompts):
        self.tokenizer, self.prompts = tokenizer, prompts
        template = tokenizer.chat_template or ""
        self.chat_template = template if isinstance(template, str) else "".join(template.values())
        self.special_tokens = frozenset(tokenizer.all_special_tokens)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    def encode_chat(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> list[int]:
        try:
            return self.prompts(messages, tools, template_kwargs, add_generation_prompt)
        except ValueError as error:
            raise RequestError(f"the model cannot be asked this: {error}") from error
