"""Chats and plain texts."""

import re

from components.data.catalogue.converters import Raw, chat, first, pick


def alpaca_zh(raw: Raw) -> Raw:
    """Without the label that stands before some inputs."""
    return raw | {"input": (raw["input"] or "").removeprefix("输入：")}


def long_alpaca(raw: Raw) -> Raw:
    """Without the label that stands before some answers."""
    return raw | {"output": raw["output"].removeprefix("Answer: ").strip()}


def ruozhiba(raw: Raw) -> Raw | None:
    """A saying of the forum as plain text, its number taken off."""
    title = raw.get("title") or raw["content"]
    abstract = raw.get("abs")
    title = f"{title}，{abstract}" if abstract and abstract != title else title
    numbered = re.search(r"\d+[.,\s、](.+)", title)
    title = numbered[1] if numbered else title
    return {"text": title} if title else None


def ms_bench(raw: Raw) -> Raw | None:
    """Without the default system prompt; rows that hold another assistant's name or its role labels are left out."""
    turns = raw["messages"] if "messages" in raw else raw["conversations"]
    if any(re.search(r"moss|human:|assistant:|user:", turn["value"], re.IGNORECASE) for turn in turns):
        return None
    default = {"from": "system", "value": "You are a helpful assistant."}
    return {"conversations": turns[1:] if turns[0] == default else turns}


_FIREFLY = (
    "AncientPoem BELLE ClassicalChinese Composition Cot Couplet Dictionary JinYongGeneration KeywordRecognition "
    "LyricGeneration MRC MusicComment NER NLI OpenQA ProductDesc Program ProseGeneration SentimentAnalyze "
    "StoryGeneration Summary TextCorrection TextMatching Translation"
)
_FIREFLY_KINDS = frozenset(_FIREFLY.split())


def firefly(raw: Raw) -> Raw | None:
    """The kinds of task that ms-swift keeps."""
    return chat(raw["input"], raw["target"]) if raw["kind"] in _FIREFLY_KINDS else None


def blossom_math(raw: Raw) -> Raw:
    """The reasoning, then the answer."""
    query = raw["query"] if "query" in raw else raw["input"]
    return chat(query, f"{raw['output']}\n\nAnswer: {raw['answer']}")


def synthetic_text_to_sql(raw: Raw) -> Raw:
    """Tables and question; the explanation, then the statement."""
    return chat(
        f"Sql Table information:\n{raw['sql_context']}\n{raw['sql_prompt']}",
        f"Let's think step by step:\n{raw['sql_explanation']}\nSo the final sql is:\n{raw['sql']}",
    )


def tigerbot_law(raw: Raw) -> Raw:
    """A paragraph of a law as plain text, behind its kind, title and chapters."""
    chapters = "".join(raw.get(f"chapter{number}") or "" for number in (1, 2, 3))
    return {"text": f"{raw['type']}\n{raw['title']}\n{chapters}{raw['content']}"}


def leetcode(raw: Raw) -> Raw:
    """The problem; its code, then the explanation."""
    problem, fence, code = raw["code_with_problem"].partition("```python")
    return chat(problem.removeprefix("# "), f"{(fence + code).strip()}\n\n{raw['explanation_only']}")


def dureader(raw: Raw) -> Raw:
    """To ask the question that a text answers."""
    answer, context = raw["text1"].split("[SEP]")
    return chat(f"Task: Question Generation\nContext: {context}\nAnswer: {answer}\nQuestion:", raw["text2"])


def advertise(raw: Raw) -> Raw:
    """Keywords and the advertisement."""
    query = f"Task: Generating advertisements based on keywords.\nKeywords: {raw['content']}\nAdvertisements:"
    return chat(query, raw["summary"])


def dolly(raw: Raw) -> Raw:
    """The context, where there is one, before the instruction."""
    context = f"Here gives some useful information:\n{raw['context']}\n" if raw["context"] else ""
    return chat(context + raw["instruction"], raw["response"])


_LABEL = re.compile("(User|Assistant|Asssistent|Assistent|Assistenz)[:：]")


def guanaco(raw: Raw) -> Raw | None:
    """Earlier turns lie in `instruction`, behind labels; rows whose turns do not alternate are left out."""
    _, *parts = _LABEL.split(raw["instruction"] or "")
    labels, turns = parts[::2], [turn.strip() for turn in parts[1::2]]
    is_user = [label == "User" for label in labels]
    if is_user != [True, False] * (len(is_user) // 2) or not all(turns):
        return None
    roles = ["user" if user else "assistant" for user in is_user]
    history = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
    last = chat(raw["input"].removeprefix("User:").strip(), raw["output"])
    return {"messages": history + last["messages"]}


def hc3(raw: Raw) -> Raw:
    """Whose answer is this? One answer of a row is shown, a person's or ChatGPT's, always the same one."""
    author = pick(("Human", "ChatGPT"), raw["question"])
    return chat(
        "Classification Task: Are the following responses from a human or from ChatGPT?\n"
        f"Question: {raw['question']}\nAnswer: {first(raw[f'{author.lower()}_answers'])}\n"
        "Category: Human, ChatGPT\nOutput:",
        author,
    )


def cmnli(raw: Raw) -> Raw | None:
    """Inference between two sentences, answered in words; rows without a label are left out."""
    sentences = f"Sentence1: {raw['sentence1']}\nSentence2: {raw['sentence2']}"
    return _category(raw, "Natural Language Inference", sentences, ("neutral", "entailment", "contradiction"))


def jd(raw: Raw) -> Raw | None:
    """The mood of a review, answered in a word; rows without a label are left out."""
    return _category(raw, "Sentiment Classification", f"Sentence: {raw['sentence']}", ("negative", "positive"))


def _category(raw: Raw, task: str, sentences: str, names: tuple[str, ...]) -> Raw | None:
    label = -1 if raw["label"] is None else int(float(raw["label"]))
    if not 0 <= label < len(names):
        return None
    return chat(f"Task: {task}\n{sentences}\nCategory: {', '.join(names)}\nOutput:", names[label])


def stsb(raw: Raw) -> Raw:
    """How alike two sentences are, answered as a number."""
    return chat(
        "Task: Based on the given two sentences, provide a similarity score between 0.0 and 1.0.\n"
        f"Sentence 1: {raw['sentence1']}\nSentence 2: {raw['sentence2']}\nSimilarity score: ",
        f"{raw['score']:.1f}",
    )


_NO_THOUGHT = "<think>\n\n</think>\n\n"


def self_cognition_qwen3(raw: Raw) -> Raw:
    """Asked not to think, and not thinking."""
    return chat(f"{raw['query']} /no_think", f"{_NO_THOUGHT}{raw['response']}")


def self_cognition_empty_think(raw: Raw) -> Raw:
    """Not thinking."""
    return chat(raw["query"], f"{_NO_THOUGHT}{raw['response']}")


def sudoku(raw: Raw) -> Raw:
    """Both grids in nine lines, 0 for an empty cell."""
    puzzle = _grid(raw["question"].replace(".", "0"))
    return chat(
        "Solve the following 9x9 Sudoku puzzle. Empty cells are marked with '0'. "
        f"Provide the completed grid as your answer.\n\nPuzzle:\n{puzzle}",
        _grid(raw["answer"]),
    )


def _grid(cells: str) -> str:
    return "\n".join(cells[start : start + 9] for start in range(0, len(cells), 9))


def countdown(raw: Raw) -> Raw:
    """A prompt whose answers a reward counts; `nums` and `target` are what it needs."""
    prompt = (
        f"Using the numbers {raw['nums']}, create an equation that equals {raw['target']}.\n"
        "You can use basic arithmetic operations (+, -, *, /) and each number can only be used once.\n"
        "Show your work in <think> </think> tags. And return the final equation and answer in <answer> </answer> tags, "
        "for example <answer> (1 + 2) / 3 * 4 = 4 </answer>."
    )
    return {"prompt": [{"role": "user", "content": prompt}], "nums": raw["nums"], "target": raw["target"]}


def prompt_only(raw: Raw) -> Raw:
    """The prompt as a message, so that a reference beside it (`solution`) is not read as the answer to learn."""
    return raw | {"prompt": [{"role": "user", "content": raw["prompt"]}]}
