"""Chat templates in the styles of the well-known families, written for these tests, each with what it has to teach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from json import dumps
from typing import Any

Message = dict[str, Any]

ASKS = "{% if add_generation_prompt %}"
IM = "<|im_start|>{{ m.role }}\n"
GOES_ON = "{% if loop.last or messages[loop.index].role != 'tool' %}"
BEGINS = "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}"
HERMES_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
    "<tools>{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    "Answer with <tool_call></tool_call> to call one.<|im_end|>\n"
    "{% elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}"
)
HERMES_RESULTS = (
    "{% elif m.role == 'tool' %}" + BEGINS + "<|im_start|>user{% endif %}"
    "\n<tool_response>\n{{ m.content }}\n</tool_response>" + GOES_ON + "<|im_end|>\n{% endif %}"
)
HERMES_CALLS = (
    "{% for c in m.tool_calls or [] %}{{ '\n' if not loop.first or m.content }}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
)
SPLIT_THOUGHT = (
    "{% set t = m.reasoning_content or '' %}{% set c = m.content %}"
    "{% if not t and '</think>' in c %}{% set t = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)


def json(value: Any, **options: Any) -> str:
    return dumps(value, ensure_ascii=False, **options)


def hermes(message: Message, **options: Any) -> str:
    functions = [call["function"] for call in message.get("tool_calls", [])]
    calls = [
        f'<tool_call>\n{{"name": "{f["name"]}", "arguments": {json(f["arguments"], **options)}}}\n</tool_call>'
        for f in functions
    ]
    return "\n".join([*([message["content"]] if message["content"] else []), *calls])


def thought(message: Message) -> tuple[str, str]:
    """A message's thought and its answer."""
    if "</think>" in message["content"]:
        before, _, after = message["content"].partition("</think>")
        return before.removeprefix("<think>").strip(), after.strip()
    return message.get("reasoning_content", ""), message["content"]


@dataclass(frozen=True)
class Family:
    """A template; `writes(message)` is all that the model has to generate for it; `refuses` names the shapes that it
    cannot teach, with a word of the reason."""

    template: str
    writes: Callable[[Message], str]
    refuses: dict[str, str] = field(default_factory=dict)
    eos: str = "</s>"
    stops: tuple[str, ...] = ()
    """Tokens that generation_config.json names."""
    begins: str = ""
    """How an answer begins when it answers a tool."""


NO_TOOLS = {"tools": "tool", "tools, system": "tool", "thinking tools": "tool"}
NO_THOUGHTS = {"thinking": "thought", "multi thinking": "thought", "thinking tools": "thought"}
NO_SYSTEM = {"system": "refuses the conversation", "tools, system": ""}

FAMILIES: dict[str, Family] = {
    "ChatML": Family(
        "{% for m in messages %}" + IM + "{{ m.content }}<|im_end|>\n{% endfor %}" + ASKS + "<|im_start|>assistant\n"
        "{% endif %}",
        lambda m: m["content"] + "<|im_end|>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "Qwen2.5 with tools": Family(
        HERMES_TOOLS + "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n{{ m.content }}"
        + HERMES_CALLS + "<|im_end|>\n" + HERMES_RESULTS + "{% elif m.role != 'system' %}" + IM
        + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + ASKS + "<|im_start|>assistant\n{% endif %}",
        lambda m: hermes(m) + "<|im_end|>",
        NO_THOUGHTS,
    ),
    "the same, with generation blocks": Family(
        HERMES_TOOLS + "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n{% generation %}"
        "{{ m.content }}" + HERMES_CALLS + "<|im_end|>{% endgeneration %}\n" + HERMES_RESULTS
        + "{% elif m.role != 'system' %}" + IM + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + ASKS
        + "<|im_start|>assistant\n{% endif %}",
        lambda m: hermes(m) + "<|im_end|>",
        NO_THOUGHTS,
    ),
    "Qwen3": Family(  # thoughts stay in the turns after the last question
        "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}" + HERMES_TOOLS + "{% for m in messages %}"
        "{% if m.role == 'assistant' %}" + SPLIT_THOUGHT + "<|im_start|>assistant\n"
        "{% if loop.index0 > ns.last and (loop.last or t) %}<think>\n{{ t.strip('\n') }}\n</think>\n\n"
        "{% endif %}{{ c.lstrip('\n') }}" + HERMES_CALLS + "<|im_end|>\n" + HERMES_RESULTS
        + "{% elif m.role != 'system' %}" + IM + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + ASKS
        + "<|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        lambda m: f"<think>\n{thought(m)[0]}\n</think>\n\n{hermes({**m, 'content': thought(m)[1]})}<|im_end|>",
    ),
    "DeepSeek R1": Family(  # the prompt opens the thought; a template for chats, which drops thoughts
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
        "<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}"
        "<｜end▁of▁sentence｜>{% endif %}{% endfor %}" + ASKS + "<｜Assistant｜><think>\n{% endif %}",
        lambda m: m["content"] + "<｜end▁of▁sentence｜>",
        NO_THOUGHTS | NO_TOOLS | {"inline thinking": "thought", "multi inline": "thought"},
        eos="<｜end▁of▁sentence｜>",
    ),
    "DeepSeek R1 that keeps its last thought": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
        "<｜User｜>{{ m.content }}{% else %}" + SPLIT_THOUGHT + "<｜Assistant｜>{% if loop.last and t %}<think>\n"
        "{{ t }}\n</think>\n\n{% endif %}{{ c }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
        + ASKS + "<｜Assistant｜><think>\n{% endif %}",
        lambda m: (f"{thought(m)[0]}\n</think>\n\n" if thought(m)[0] else "") + thought(m)[1] + "<｜end▁of▁sentence｜>",
        NO_TOOLS,
        eos="<｜end▁of▁sentence｜>",
    ),
    "Llama 3": Family(
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}" + ASKS + "<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}",
        lambda m: m["content"].strip() + "<|eot_id|>",
        NO_THOUGHTS | NO_TOOLS,
        eos="<|eot_id|>",
    ),
    "Llama 3.1 with tools": Family(  # dated; a call has a turn of its own, and ends otherwise
        "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ strftime_now('%d %b %Y') }}\n"
        "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}"
        "{% endif %}{% for t in tools or [] %}\n{{ t | tojson(indent=4) }}{% endfor %}<|eot_id|>"
        "{% for m in messages %}<|start_header_id|>"
        "{% if m.tool_calls %}{% if m.tool_calls | length != 1 or m.content %}{{ raise_exception('one call alone') }}"
        "{% endif %}{% set f = m.tool_calls[0].function %}assistant<|end_header_id|>\n\n"
        '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}<|eom_id|>'
        "{% elif m.role == 'tool' %}ipython<|end_header_id|>\n\n{{ m.content | tojson }}<|eot_id|>"
        "{% else %}{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
        + ASKS + "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        lambda m: (
            '{"name": "get_weather", "parameters": ' + json(m["tool_calls"][0]["function"]["arguments"]) + "}<|eom_id|>"
            if "tool_calls" in m
            else m["content"] + "<|eot_id|>"
        ),
        NO_THOUGHTS | {"tools, system": "refuses the conversation"},
        eos="<|eot_id|>",
    ),
    "Llama 4": Family(
        "{{ bos_token }}{% for m in messages %}<|header_start|>{{ m.role }}<|header_end|>\n\n"
        "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}"
        "<|eot|>{% endfor %}" + ASKS + "<|header_start|>assistant<|header_end|>\n\n{% endif %}",
        lambda m: m["content"] + "<|eot|>",
        NO_THOUGHTS | NO_TOOLS,
        eos="<|eot|>",
    ),
    "Mistral v1": Family(
        "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% else %}"
        "{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}",
        lambda m: m["content"] + "</s>",
        NO_THOUGHTS | NO_TOOLS | NO_SYSTEM,
    ),
    "Mistral v3 with tools": Family(  # ids of nine; the system prompt and the tools stand in the last question
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
        "{% set messages = messages[1:] %}{% endif %}{% set ns = namespace(last=0) %}"
        "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}{% if m.role == 'user' %}{% if tools and loop.index0 == ns.last %}"
        "[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
        "[INST] {% if system is defined and loop.index0 == ns.last %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
        "{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
        "{% if c.id is not defined or c.id | length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif %}"
        '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}'
        "{{ ', ' if not loop.last }}{% endfor %}]{{ eos_token }}"
        "{% elif m.role == 'tool' %}{% if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}"
        "{{ raise_exception('ids have nine characters') }}{% endif %}[TOOL_RESULTS] "
        '{"content": {{ m.content | tojson }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]'
        "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}",
        lambda m: (
            '[TOOL_CALLS] [{"name": "get_weather", "arguments": '
            + json(m["tool_calls"][0]["function"]["arguments"])
            + ', "id": "000000000"}]</s>'
            if "tool_calls" in m
            else " " + m["content"].strip() + "</s>"
        ),
        NO_THOUGHTS | {"tools, system": "text"},  # a text beside a call is dropped
    ),
    "Mistral v7": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
        "{% elif m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]"
        "{% elif m.role == 'assistant' %}{{ m.content + eos_token }}"
        "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}",
        lambda m: m["content"] + "</s>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "Gemma": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}" + ASKS + "<start_of_turn>model\n{% endif %}",
        lambda m: m["content"].strip() + "<end_of_turn>",
        NO_THOUGHTS | NO_TOOLS | NO_SYSTEM,
    ),
    "Gemma 3": Family(  # the system prompt is the first question's head
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set head = messages[0].content + '\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}{% for m in messages %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ head if loop.first }}"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}" + ASKS + "<start_of_turn>model\n{% endif %}",
        lambda m: m["content"].strip() + "<end_of_turn>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "Phi 3": Family(  # the end of text stands behind the last turn of all
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}" + ASKS + "<|assistant|>\n"
        "{% else %}{{ eos_token }}{% endif %}",
        lambda m: m["content"] + "<|end|>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "Phi 4": Family(
        "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
        + ASKS + "<|im_start|>assistant<|im_sep|>{% endif %}",
        lambda m: m["content"] + "<|im_end|>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "GLM 4": Family(
        "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}" + ASKS + "<|assistant|>"
        "{% endif %}",
        lambda m: "\n" + m["content"] + "<|user|>",
        NO_THOUGHTS | NO_TOOLS,
        stops=("<|user|>", "<|observation|>"),
    ),
    "GLM 4.5": Family(
        "[gMASK]<sop>{% if tools %}<|system|>\n{{ tools | tojson }}{% endif %}"
        "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'assistant' %}"
        + SPLIT_THOUGHT + "<|assistant|>\n<think>{{ t.strip() if loop.index0 > ns.last }}</think>"
        "{{ '\n' + c.strip() if c.strip() }}{% for call in m.tool_calls or [] %}"
        "{{ '\n<tool_call>' + call.function.name }}{% for k, v in call.function.arguments.items() %}"
        "{{ '\n' }}<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v if v is string else v | tojson }}</arg_value>"
        "{% endfor %}{{ '\n</tool_call>' }}{% endfor %}{% elif m.role == 'tool' %}" + BEGINS
        + "<|observation|>{% endif %}\n<tool_response>\n"
        "{{ m.content }}\n</tool_response>{% else %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}"
        + ASKS + "<|assistant|>{% if enable_thinking is false %}\n<think></think>{% endif %}{% endif %}",
        lambda m: (
            f"\n<think>{thought(m)[0]}</think>"
            + (f"\n{thought(m)[1]}" if thought(m)[1] else "")
            + "".join(
                "\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Orléans</arg_value>\n"
                "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>"
                for _ in m.get("tool_calls", [])
            )
            + ("<|observation|>" if "tool_calls" in m else "<|user|>")
        ),
        stops=("<|user|>", "<|observation|>"),
    ),
    "gpt-oss": Family(
        "<|start|>system<|message|>You are a model.\nCurrent date: {{ strftime_now('%Y-%m-%d') }}<|end|>"
        "{% if tools or messages[0].role == 'system' %}<|start|>developer<|message|>"
        "{{ messages[0].content if messages[0].role == 'system' }}{% for t in tools or [] %}\n"
        "type {{ t.function.name }} = (_: {{ t.function.parameters | tojson }}) => any;{% endfor %}<|end|>{% endif %}"
        "{% for m in messages %}{% if m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>"
        "{% elif m.role == 'tool' %}<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>"
        "{{ m.content | tojson }}<|end|>{% elif m.tool_calls %}{% if m.thinking %}"
        "<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
        "{% if m.content %}<|start|>assistant<|channel|>commentary<|message|>{{ m.content }}<|end|>{% endif %}"
        "{% set f = m.tool_calls[0].function %}<|start|>assistant to=functions.{{ f.name }}<|channel|>commentary json"
        "<|message|>{{ f.arguments | tojson }}<|call|>{% elif m.role == 'assistant' %}"
        "{% if loop.last and m.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>"
        "{% endif %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
        "{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}{% endfor %}"
        + ASKS + "<|start|>assistant{% endif %}",
        lambda m: "<|start|>assistant".join(
            [
                *([f"<|channel|>analysis<|message|>{thought(m)[0]}<|end|>"] if "reasoning_content" in m else []),
                *(
                    [
                        *([f"<|channel|>commentary<|message|>{m['content']}<|end|>"] if m["content"] else []),
                        " to=functions.get_weather<|channel|>commentary json<|message|>"
                        + json(m["tool_calls"][0]["function"]["arguments"])
                        + "<|call|>",
                    ]
                    if "tool_calls" in m
                    else [f"<|channel|>final<|message|>{m['content']}<|return|>"]
                ),
            ]
        ),
        eos="<|return|>",
    ),
    "Command R": Family(
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>{% if m.role == 'system' %}<|SYSTEM_TOKEN|>"
        "{% elif m.role == 'user' %}<|USER_TOKEN|>{% else %}<|CHATBOT_TOKEN|>{% endif %}{{ m.content | trim }}"
        "<|END_OF_TURN_TOKEN|>{% endfor %}" + ASKS + "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
        lambda m: m["content"].strip() + "<|END_OF_TURN_TOKEN|>",
        NO_THOUGHTS | NO_TOOLS,
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    "a vision model, which reads parts alone": Family(
        "{% for m in messages %}{{ m.role | capitalize }}:{% for p in m.content %}{% if p.type == 'text' %}"
        " {{ p.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}" + ASKS + "Assistant:{% endif %}",
        lambda m: f" {m['content']}<|im_end|>",
        NO_THOUGHTS | NO_TOOLS,
    ),
    "arguments as text": Family(
        HERMES_TOOLS + "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n{{ m.content }}"
        + HERMES_CALLS.replace("c.function.arguments | tojson", "c.function.arguments") + "<|im_end|>\n"
        + HERMES_RESULTS + "{% elif m.role != 'system' %}" + IM + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        + ASKS + "<|im_start|>assistant\n{% endif %}",
        lambda m: hermes(m, separators=(",", ":")) + "<|im_end|>",
        NO_THOUGHTS,
    ),
}  # fmt: skip
