"""Built-in datasets, from a row as the hub serves it to the canonical row."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.catalogue import find
from components.data.formats import to_row

Row = dict[str, Any]


def user(content: str) -> Row:
    return {"role": "user", "content": content}


def assistant(content: str) -> Row:
    return {"role": "assistant", "content": content}


def system(content: str) -> Row:
    return {"role": "system", "content": content}


def chat(query: str, response: str, **beside: Any) -> Row:
    return {"messages": [user(query), assistant(response)]} | beside


def calling(*calls: tuple[str, Row]) -> Row:
    called = [{"type": "function", "function": {"name": name, "arguments": said}} for name, said in calls]
    return assistant("") | {"tool_calls": called}


def converted(spec: str, raw: Row) -> Row | None:
    name, _, subset = spec.partition(":")
    entry = find(name)
    assert entry is not None
    (part,) = entry.parts([subset] if subset else [])
    return part.convert(raw)


TALK = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
BYTES = {"bytes": "iVBORw0KGgo=", "path": "1.png"}
SELF = {"query": "Who are you?", "response": "I am {{NAME}}.", "tag": "en"}
SYNONYMS = '[{"name": "add", "description": "Adds.", "parameters": {"a": {"type": "int"}, "b": {"type": "int"}}}]'
ADD = {"type": "object", "properties": {"a": {"type": "int"}, "b": {"type": "int"}}}
ADDS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": ADD}}]
CALLED = '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'
WEATHER = (
    '{\n    "name": "weather",\n    "description": "Tells the weather.",\n    "parameters": {\n'
    '        "type": "object",\n        "properties": {"city": {"type": "string"}}\n    }\n}'
)
HC3 = {"question": "Why is the sky blue?", "human_answers": ["Scattering."], "chatgpt_answers": ["It scatters."]}
STORY = {"bytes": "", "path": "film.mp4"}

TEXTS: list[tuple[str, Row, Row]] = [
    (
        "AI-ModelScope/alpaca-gpt4-data-zh",
        {"instruction": "翻译", "input": "输入：猫", "output": "cat"},
        chat("翻译\n猫", "cat"),
    ),
    (
        "vicgalle/alpaca-gpt4",
        {"instruction": "Add.", "input": "1 2", "output": "3", "text": "Below is an instruction … ### Response:\n3"},
        chat("Add.\n1 2", "3"),
    ),
    (
        "AI-ModelScope/LongAlpaca-12k",
        {"file": "paper.pdf", "input": "", "instruction": "What is it about?", "output": "Answer:  Attention."},
        chat("What is it about?", "Attention."),
    ),
    (
        "AI-ModelScope/ruozhiba:title-good",
        {"title": "12、我买了一斤藕", "abs": "里面有洞"},
        {"text": "我买了一斤藕，里面有洞"},
    ),
    ("AI-ModelScope/ruozhiba:post-annual", {"content": "没有编号"}, {"text": "没有编号"}),
    (
        "iic/ms_bench",
        {"conversations": [{"from": "system", "value": "You are a helpful assistant."}, *TALK]},
        chat("Hi", "Hello."),
    ),
    (
        "AI-ModelScope/firefly-train-1.1M",
        {"kind": "NLI", "input": "前提…", "target": "中立"},
        chat("前提…", "中立"),
    ),
    (
        "AI-ModelScope/blossom-math-v2",
        {"id": "m1", "input": "1+1?", "output": "One and one.", "answer": "2", "dataset": "gsm8k"},
        chat("1+1?", "One and one.\n\nAnswer: 2"),
    ),
    (
        "AI-ModelScope/synthetic_text_to_sql",
        {
            "sql_prompt": "How many?",
            "sql_context": "CREATE TABLE t (a INT);",
            "sql": "SELECT COUNT(*) FROM t;",
            "sql_explanation": "Counts the rows.",
            "domain": "forestry",
        },
        chat(
            "Sql Table information:\nCREATE TABLE t (a INT);\nHow many?",
            "Let's think step by step:\nCounts the rows.\nSo the final sql is:\nSELECT COUNT(*) FROM t;",
        ),
    ),
    (
        "AI-ModelScope/tigerbot-law-plugin",
        {
            "type": "宪法",
            "title": "总纲",
            "chapter1": "第一章",
            "chapter2": None,
            "chapter3": None,
            "content": "第一条…",
        },
        {"text": "宪法\n总纲\n第一章第一条…"},
    ),
    (
        "AI-ModelScope/leetcode-solutions-python",
        {
            "id": 1,
            "code_with_problem": "# Two Sum\nFind two numbers.\n\n```python\ndef f(): ...\n```\n",
            "explanation_only": "Use a map.",
        },
        chat("Two Sum\nFind two numbers.\n\n", "```python\ndef f(): ...\n```\n\nUse a map."),
    ),
    (
        "modelscope/DuReader_robust-QG",
        {"text1": "18世纪[SEP]它始于18世纪。", "text2": "它始于何时？"},
        chat("Task: Question Generation\nContext: 它始于18世纪。\nAnswer: 18世纪\nQuestion:", "它始于何时？"),
    ),
    (
        "shibing624/AdvertiseGen",
        {"content": "类型#裙", "summary": "好看的裙子"},
        chat("Task: Generating advertisements based on keywords.\nKeywords: 类型#裙\nAdvertisements:", "好看的裙子"),
    ),
    (
        "databricks/databricks-dolly-15k",
        {"instruction": "When?", "context": "In 2003.", "response": "2003.", "category": "closed_qa"},
        chat("Here gives some useful information:\nIn 2003.\nWhen?", "2003."),
    ),
    (
        "databricks/databricks-dolly-15k",
        {"instruction": "Why?", "context": "", "response": "So.", "category": "open_qa"},
        chat("Why?", "So."),
    ),
    (
        "JosephusCheung/GuanacoDataset",
        {"instruction": "User:你好\nAssistant：你好！", "input": "User: 再见", "output": "再见！"},
        {"messages": [user("你好"), assistant("你好！"), user("再见"), assistant("再见！")]},
    ),
    ("JosephusCheung/GuanacoDataset", {"instruction": "", "input": "你好", "output": "你好！"}, chat("你好", "你好！")),
    (
        "modelscope/clue",
        {"sentence1": "他在家", "sentence2": "他不在家", "label": 2, "idx": 0},
        chat(
            "Task: Natural Language Inference\nSentence1: 他在家\nSentence2: 他不在家\n"
            "Category: neutral, entailment, contradiction\nOutput:",
            "contradiction",
        ),
    ),
    (
        "DAMO_NLP/jd",
        {"sentence": "很好", "label": "1.0"},
        chat("Task: Sentiment Classification\nSentence: 很好\nCategory: negative, positive\nOutput:", "positive"),
    ),
    (
        "sentence-transformers/stsb",
        {"sentence1": "A cat.", "sentence2": "A kitten.", "score": 0.84},
        chat(
            "Task: Based on the given two sentences, provide a similarity score between 0.0 and 1.0.\n"
            "Sentence 1: A cat.\nSentence 2: A kitten.\nSimilarity score: ",
            "0.8",
        ),
    ),
    ("swift/self-cognition", SELF, chat("Who are you?", "I am {{NAME}}.")),
    ("swift/self-cognition:qwen3", SELF, chat("Who are you? /no_think", "<think>\n\n</think>\n\nI am {{NAME}}.")),
    ("swift/self-cognition:empty_think", SELF, chat("Who are you?", "<think>\n\n</think>\n\nI am {{NAME}}.")),
    (
        "sapientinc/sudoku-extreme-1k",
        {"source": "x", "question": "." * 80 + "5", "answer": "123456789" * 9, "rating": 3},
        chat(
            "Solve the following 9x9 Sudoku puzzle. Empty cells are marked with '0'. Provide the completed grid as "
            "your answer.\n\nPuzzle:\n" + "000000000\n" * 8 + "000000005",
            "\n".join(["123456789"] * 9),
        ),
    ),
    (
        "Magpie-Align/Magpie-Qwen2-Pro-200K-English",
        {"uuid": "u", "instruction": "Hi", "response": "Hello.", "conversations": TALK, "difficulty": "easy"},
        chat("Hi", "Hello."),
    ),
    (
        "FreedomIntelligence/medical-o1-reasoning-SFT:en",
        {"Question": "Q?", "Complex_CoT": "Hmm.", "Response": "A."},
        chat("Q?", "A."),
    ),
    (
        "OmniData/Zhihu-KOL",
        {"INSTRUCTION": "问", "RESPONSE": "答", "SOURCE": "Zhihu", "METADATA": "{}"},
        chat("问", "答"),
    ),
    (
        "ServiceNow-AI/R1-Distill-SFT:v0",
        {"problem": "1+1?", "reannotated_assistant_content": "<think>…</think>2", "solution": "2", "source": "x"},
        chat("1+1?", "<think>…</think>2"),
    ),
    (
        "ServiceNow-AI/R1-Distill-SFT:v1",
        {
            "problem": "1+1?",
            "solution": "2",
            "messages": [user("1+1?"), assistant("2")],
            "reannotated_messages": [user("1+1?"), assistant("<think>…</think>2")],
            "reannotated_assistant_content": "<think>…</think>2",
        },
        chat("1+1?", "<think>…</think>2"),
    ),
    (
        "codefuse-ai/CodeExercise-Python-27k",
        {"chat_rounds": [{"role": "human", "content": "Sort."}, {"role": "bot", "content": "sorted(x)"}]},
        chat("Sort.", "sorted(x)"),
    ),
    (
        "HuggingFaceH4/no_robots",
        {"prompt": "Hi", "prompt_id": "p", "messages": [user("Hi"), assistant("Hello.")], "category": "Chat"},
        chat("Hi", "Hello."),
    ),
    (
        "BAAI/Infinity-Instruct:7M",
        {"id": 1, "conversations": TALK, "label": {"ability_en": ["chat"]}, "langdetect": "en", "source": "x"},
        chat("Hi", "Hello."),
    ),
    (
        "TIGER-Lab/WebInstructSub",
        {"orig_question": "q", "orig_answer": "a", "source": "x", "index": 1, "question": "Q?", "answer": "A."},
        chat("Q?", "A."),
    ),
    (
        "HuggingFaceTB/cosmopedia-100k",
        {"prompt": "Write.", "text": "Once.", "format": "story"},
        chat("Write.", "Once."),
    ),
    (
        "swift/medical_zh:en",
        {"instruction": "Answer truthfully.", "input": "Why?", "output": "So."},
        chat("Why?", "So."),
    ),
    ("swift/medical_zh:zh", {"instruction": "为何？", "input": "", "output": "因为。"}, chat("为何？", "因为。")),
    (
        "b-mc2/sql-create-context",
        {"question": "How many?", "context": "CREATE TABLE t (a INT)", "answer": "SELECT COUNT(*) FROM t"},
        chat("How many?\nCREATE TABLE t (a INT)", "SELECT COUNT(*) FROM t"),
    ),
    (
        "yys/OpenOrca-Chinese",
        {"id": "1", "system_prompt": "Be brief.", "question": "Q?", "response": "A."},
        {"messages": [system("Be brief."), user("Q?"), assistant("A.")]},
    ),
    ("bigcode/starcoderdata", {"max_stars_repo_path": "a.py", "content": "x = 1", "id": "1"}, {"text": "x = 1"}),
    ("togethercomputer/RedPajama-Data-V2", {"doc_id": "1", "meta": "{}", "raw_content": "Text."}, {"text": "Text."}),
    ("pleisto/wikipedia-cn-20230720-filtered", {"completion": "昭通机场", "source": "wikipedia"}, {"text": "昭通机场"}),
    ("codeparrot/github-code", {"code": "x = 1", "repo_name": "a/b", "license": "mit", "size": 5}, {"text": "x = 1"}),
    ("wikipedia", {"id": "1", "url": "https://…", "title": "Cat", "text": "A cat is …"}, {"text": "A cat is …"}),
]

AGENTS: list[tuple[str, Row, Row]] = [
    (
        "huangjintao/AgentInstruct_copy:os",
        {
            "id": "os_0",
            "conversations": "[{'from': 'human', 'loss': None, 'value': 'ls?'}\n "
            "{'from': 'gpt', 'loss': True, 'value': 'ls'}]",
        },
        {"messages": [user("ls?"), assistant("ls") | {"loss_scale": 1.0}]},
    ),
    (
        "lmsys/lmsys-chat-1m",
        {"conversation_id": "c", "model": "m", "conversation": [user("Hi"), assistant("Hello.")], "turn": 1},
        chat("Hi", "Hello."),
    ),
    (
        "damo/MSAgent-Bench:mini",
        {
            "conversations": [
                {"from": "system", "value": '1. {"plugin_name": "a"}\n2. {"plugin_name": "b"}'},
                {"from": "user", "value": "Go."},
                {"from": "assistant", "value": "Done."},
            ]
        },
        {"messages": [system('1. {"plugin_name": "a"}\n2. {"plugin_name": "b"}'), user("Go."), assistant("Done.")]},
    ),
    (
        "shenweizhou/alpha-umi-toolbench-processed-v2:caller",
        {"conversations": [{"from": "user", "value": "Call."}, {"from": "caller", "value": "Action: f"}]},
        chat("Call.", "Action: f"),
    ),
    (
        "iic/MSAgent-MultiRole",
        {
            "conversations": [
                {"from": "system", "value": "你是李白。【注意事项】短"},
                {"from": "杜甫", "value": "吃了吗？"},
                {"from": "李白", "value": "没有。"},
            ]
        },
        {
            "messages": [
                system("你是李白。【注意事项】短"),
                user("【chat history】\n 杜甫:吃了吗？"),
                assistant("没有。"),
            ]
        },
    ),
    (
        "LLM-Research/xlam-function-calling-60k",
        {"id": 0, "query": "1+2?", "answers": CALLED, "tools": SYNONYMS},
        {"messages": [user("1+2?"), calling(("add", {"a": 1, "b": 2}))], "tools": ADDS},
    ),
    (
        "Salesforce/xlam-function-calling-60k:grpo",
        {"id": 0, "query": "1+2?", "answers": CALLED, "tools": SYNONYMS},
        {
            "prompt": [user("1+2?")],
            "tools": ADDS,
            "extra": {"solution": 'Action: add\nAction Input: {"a": 1, "b": 2}'},
        },
    ),
    (
        "Locutusque/function-calling-chatml",
        {
            "system_message": "You may call functions.",
            "function_description": f"{WEATHER}\n\n{WEATHER.replace('weather', 'climate')}",
            "conversations": [
                {"from": "system", "value": "You may call functions. {…}"},
                {"from": "human", "value": "Weather in Rome?"},
                {"from": "function-call", "value": '{"name": "weather", "arguments": \'{"city": "Rome"}\'}'},
                {"from": "function-response", "value": '{"sky": "blue"}'},
                {"from": "gpt", "value": "Blue sky."},
            ],
        },
        {
            "messages": [
                user("Weather in Rome?"),
                calling(("weather", {"city": "Rome"})),
                {"role": "tool", "content": '{"sky": "blue"}'},
                assistant("Blue sky."),
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": name,
                        "description": f"Tells the {name}.",
                        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                    },
                }
                for name in ("weather", "climate")
            ],
        },
    ),
]

PREFERENCES: list[tuple[str, Row, Row]] = [
    (
        "AI-ModelScope/hh-rlhf:helpful-base",
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: See you.\n\nSoon.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: No.",
        },
        {
            "prompt": [user("Hi"), assistant("Hello."), user("Bye")],
            "chosen": [assistant("See you.\n\nSoon.")],
            "rejected": [assistant("No.")],
        },
    ),
    (
        "AI-ModelScope/hh_rlhf_cn:helpful_base_cn",
        {
            "context": [{"role": "human", "text": "你好"}],
            "chosen": {"role": "assistant", "text": "你好！"},
            "rejected": {"role": "assistant", "text": "哼"},
        },
        {"prompt": [user("你好")], "chosen": [assistant("你好！")], "rejected": [assistant("哼")]},
    ),
    (
        "mlabonne/orpo-dpo-mix-40k",
        {
            "source": "Airoboros",
            "prompt": "Hi",
            "question": "Hi",
            "chosen": [user("Hi"), assistant("Hello.")],
            "rejected": [user("Hi"), assistant("Go away.")],
        },
        {"prompt": [user("Hi")], "chosen": [assistant("Hello.")], "rejected": [assistant("Go away.")]},
    ),
    (
        "shareAI/DPO-zh-en-emoji",
        {"question": "天？", "answer_zh": "蓝☁️", "answer_en": "blue ☁️"},
        {"prompt": [user("天？")], "chosen": [assistant("蓝☁")], "rejected": [assistant("blue ☁")]},
    ),
    (
        "Intel/orca_dpo_pairs",
        {"system": "Be brief.", "question": "Q?", "chosen": "A.", "rejected": "B."},
        {"prompt": [system("Be brief."), user("Q?")], "chosen": [assistant("A.")], "rejected": [assistant("B.")]},
    ),
    (
        "lvwerra/stack-exchange-paired",
        {"qid": 1, "question": "Q?", "date": "2020", "metadata": [], "response_j": "A.", "response_k": "B."},
        {"prompt": [user("Q?")], "chosen": [assistant("A.")], "rejected": [assistant("B.")]},
    ),
    (
        "liyucheng/zhihu_rlhf_3k",
        {"prompt": "Q?", "chosen": "A.", "rejected": "B."},
        {"prompt": [user("Q?")], "chosen": [assistant("A.")], "rejected": [assistant("B.")]},
    ),
    (
        "openbmb/RLAIF-V-Dataset",
        {"ds_name": "x", "image": BYTES, "question": "Q?", "chosen": "A.", "rejected": "B.", "idx": 0},
        {"prompt": [user("Q?")], "chosen": [assistant("A.")], "rejected": [assistant("B.")], "images": [BYTES]},
    ),
    (
        "AI-ModelScope/ultrafeedback-binarized-preferences-cleaned-kto",
        {"prompt": "Q?", "completion": "A.", "label": False, "rating": 3},
        {"prompt": [user("Q?")], "completion": [assistant("A.")], "label": False},
    ),
]

REWARDS: list[tuple[str, Row, Row]] = [
    (
        "zouxuhong/Countdown-Tasks-3to4",
        {"target": 24, "nums": [4, 6, 1]},
        {
            "prompt": [
                user(
                    "Using the numbers [4, 6, 1], create an equation that equals 24.\n"
                    "You can use basic arithmetic operations (+, -, *, /) and each number can only be used once.\n"
                    "Show your work in <think> </think> tags. And return the final equation and answer in <answer> "
                    "</answer> tags, for example <answer> (1 + 2) / 3 * 4 = 4 </answer>."
                )
            ],
            "extra": {"nums": [4, 6, 1], "target": 24},
        },
    ),
    (
        "open-r1/DAPO-Math-17k-Processed",
        {"prompt": "1+1?", "solution": "2", "data_source": "math_dapo", "ability": "MATH"},
        {"prompt": [user("1+1?")], "extra": {"solution": "2", "data_source": "math_dapo", "ability": "MATH"}},
    ),
    (
        "open-r1/verifiable-coding-problems-python",
        {"source": "apps", "problem_statement": "Sum.", "gold_standard_solution": "sum(x)", "verification_info": "{…}"},
        {
            "prompt": [user("Sum.")],
            "extra": {"source": "apps", "gold_standard_solution": "sum(x)", "verification_info": "{…}"},
        },
    ),
    (
        "Tongyi-Zhiwen/DocQA-RL-1.6K",
        {"prompt": [user("Q?")], "reward_model": {"ground_truth": "A", "style": "rule"}, "ability": "QA"},
        {"prompt": [user("Q?")], "extra": {"reward_model": {"ground_truth": "A", "style": "rule"}, "ability": "QA"}},
    ),
]

ANSWERED: list[tuple[str, Row, Row]] = [
    (
        "AI-MO/NuminaMath-1.5",
        {"problem": "1+1?", "solution": "It is 2.", "answer": "2", "problem_type": "Algebra", "source": "x"},
        chat("1+1?", "It is 2.", extra={"solution": "It is 2.", "answer": "2"}),
    ),
    (
        "AI-MO/NuminaMath-CoT",
        {"source": "x", "problem": "1+1?", "solution": "2", "messages": [user("1+1?"), assistant("2")]},
        chat("1+1?", "2", extra={"solution": "2"}),
    ),
    (
        "DigitalLearningGmbH/MATH-lighteval",
        {"problem": "1+1?", "level": "Level 1", "type": "Algebra", "solution": "2"},
        chat("1+1?", "2", extra={"solution": "2", "level": "Level 1", "type": "Algebra"}),
    ),
    (
        "leonardPKU/clevr_cogen_a_train",
        {"image": BYTES, "problem": "How many?", "solution": "<answer> 3 </answer>"},
        chat(
            "How many? Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> "
            "tags.",
            "<answer> 3 </answer>",
            images=[BYTES],
            extra={"solution": "<answer> 3 </answer>"},
        ),
    ),
]

SHARED = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
COCO = {"bbox_id": [1], "category": [0, 15], "bbox": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], "area": [4, 4]}
REFERRED = {"captions": ["the cat"], "bbox": [10.4, 20.6, 30.0, 40.0], "image_path": "coco/train2014/1.jpg"}
GRIT = {"caption": "a cat on a mat", "url": "https://x/1.jpg", "ref_exps": [[9, 14, 0.5, 0.5, 1, 1, 0.9]], "clip": 0.3}

MEDIA: list[tuple[str, Row, Row]] = [
    (
        "AI-ModelScope/LLaVA-Instruct-150K",
        {"id": "1", "image": "coco/train2017/1.jpg", "conversations": SHARED},
        chat("<image>\nWhat?", "A cat.", images=["coco/train2017/1.jpg"]),
    ),
    (
        "swift/llava-data",
        {"images": [{"bytes": None, "path": "coco/train2017/1.jpg"}], "conversations": SHARED},
        chat("<image>\nWhat?", "A cat.", images=["coco/train2017/1.jpg"]),
    ),
    (
        "linxy/LaTeX_OCR",
        {"image": BYTES, "text": "x^2"},
        chat("Using LaTeX to perform OCR on the image.", "x^2", images=[BYTES]),
    ),
    (
        "AI-ModelScope/captcha-images",
        {"image": BYTES, "solution": "XQ7"},
        chat("recognize the content.", "XQ7", images=[BYTES]),
    ),
    (
        "AI-ModelScope/coco",
        {"image": BYTES, "image_id": 1, "width": 9, "height": 9, "objects": COCO},
        chat(
            "Task: Object Detection",
            "<ref-object><bbox>\n<ref-object><bbox>",
            images=[BYTES],
            objects={"ref": ["person", "cat"], "bbox": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]},
        ),
    ),
    (
        "HuggingFaceM4/ChartQA",
        {"image": BYTES, "query": "How many?", "label": ["4"], "human_or_machine": 0},
        chat("How many?", "4", images=[BYTES]),
    ),
    (
        "Multimodal-Fatima/OK-VQA_train",
        {"image": BYTES, "question": "What?", "answers": ["cat", "kitten"], "question_type": "one"},
        chat("What?", "cat", images=[BYTES]),
    ),
    (
        "HuggingFaceM4/A-OKVQA",
        {
            "image": BYTES,
            "question": "Why?",
            "choices": ["a", "b"],
            "correct_choice_idx": 1,
            "rationales": ["As so.", "x"],
        },
        chat("Why?", "As so.", images=[BYTES]),
    ),
    (
        "HuggingFaceM4/VQAv2",
        {"question": "What?", "multiple_choice_answer": "cat", "answers": [{"answer": "cat"}], "image": BYTES},
        chat("What?", "cat", images=[BYTES]),
    ),
    (
        "HuggingFaceM4/TextCaps",
        {"image": BYTES, "image_id": "1", "reference_strs": ["A sign.", "Stop."], "ocr_tokens": ["STOP"]},
        chat("What is the caption of this image?", "A sign.", images=[BYTES]),
    ),
    (
        "derek-thomas/ScienceQA",
        {"image": None, "question": "Which?", "choices": ["x", "y"], "answer": 1, "solution": "It is y.", "hint": ""},
        chat("Which?", "It is y.\nSo the final answer is: y"),
    ),
    (
        "howard-hou/OCR-VQA",
        {
            "image": BYTES,
            "questions": ["Who wrote it?"],
            "answers": ["A. Writer"],
            "title": "Book",
            "set_name": "train",
        },
        chat("Who wrote it?", "A. Writer", images=[BYTES]),
    ),
    (
        "vikhyatk/lnqa",
        {"image": BYTES, "qa": [{"question": "What?", "answer": "A cat."}, {"question": "Big?", "answer": "No."}]},
        {"messages": [user("What?"), assistant("A cat."), user("Big?"), assistant("No.")], "images": [BYTES]},
    ),
    (
        "WinterSchool/MideficsDataset",
        {"image": BYTES, "conversation": {"data": [{"question": "What?", "answer": "A cell."}]}},
        chat("What?", "A cell.", images=[BYTES]),
    ),
    (
        "modelscope/coco_2014_caption:train",
        {"image_id": 1, "image": BYTES, "caption": "A cat.&&A kitten."},
        chat("please describe the image.", "A cat.", images=[BYTES]),
    ),
    (
        "HuggingFaceH4/llava-instruct-mix-vsft",
        {
            "images": [BYTES],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "What?\n"}, {"type": "image", "text": None}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
            ],
        },
        chat("What?\n<image>", "A cat.", images=[BYTES]),
    ),
    (
        "clip-benchmark/wds_voc2007_multilabel",
        {"webp": BYTES, "npy": [0] * 7 + [1] + [0] * 6 + [1] + [0] * 5},
        chat(
            "多标签分类，类别包括：aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, "
            "dog, horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor",
            "cat, person",
            images=[BYTES],
        ),
    ),
    (
        "tany0699/garbage265",
        {"image:FILE": "train/1.jpg", "category": 17},
        chat("Task: Classify household waste.", "17", images=["train/1.jpg"]),
    ),
    (
        "speech_asr/speech_asr_aishell1_trainsets:test",
        {"Audio:FILE": "wav/1.wav", "Text:LABEL": "今天 天气 好"},
        chat("语音转文本", "今天天气好", audios=["wav/1.wav"]),
    ),
    (
        "lmms-lab/GQA",
        {"id": "1", "imageId": "2354786", "question": "Is it red?", "answer": "yes", "fullAnswer": "Yes, it is red."},
        chat("Is it red?", "Yes, it is red.", images=["images/2354786.jpg"]),
    ),
    (
        "lmms-lab/egoschema",
        {"question_idx": "0", "question": "What?", "video_idx": "ab", "option": ["A. x", "B. y"], "answer": "1"},
        chat("What?\nA. x\nB. y", "B", videos=["videos/ab.mp4"]),
    ),
    (
        "Enxin/MovieChat-1K-test",
        {"info": {"video_path": "1.mp4"}, "global": [{"question": "Who?", "answer": "Bob."}], "breakpoint": []},
        chat("Who?", "Bob.", videos=["videos/1.mp4"]),
    ),
    (
        "lmms-lab/VideoChatGPT:Consistency",
        {"video_name": "v_1", "question": "None", "question_1": "Who?", "question_2": "Who else?", "answer": "Bob."},
        chat("Who?", "Bob.", videos=["Test_Videos/v_1.mp4"]),
    ),
    (
        "laion/gpt4v-dataset",
        {"link": "https://x/1.jpg", "caption": "A cat.", "message_id": "1"},
        chat("What is the caption of this image?", "A cat.", images=["https://x/1.jpg"]),
    ),
    (
        "zzliang/GRIT:vqa",
        GRIT,
        chat(
            "what is the proper caption of this image?",
            "a cat on a mat",
            images=["https://x/1.jpg"],
            objects={"ref": ["a mat"], "bbox": [[0.5, 0.5, 1, 1]], "bbox_type": "norm1"},
        ),
    ),
]


@pytest.mark.parametrize(
    ("spec", "raw", "expected"),
    [*TEXTS, *AGENTS, *PREFERENCES, *REWARDS, *MEDIA],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_of_the_hub_becomes_canonical(spec: str, raw: Row, expected: Row) -> None:
    row = converted(spec, raw)
    assert row is not None
    assert to_row(row) == expected


@pytest.mark.parametrize(
    ("spec", "raw", "expected"), ANSWERED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_worked_answer_is_learned_and_kept_for_rewards(spec: str, raw: Row, expected: Row) -> None:
    row = converted(spec, raw)
    assert row is not None
    assert to_row(row) | {"extra": row["extra"]} == expected


@pytest.mark.parametrize(
    ("spec", "raw"),
    [
        ("AI-ModelScope/firefly-train-1.1M", {"kind": "Other", "input": "a", "target": "b"}),
        (
            "iic/ms_bench",
            {"conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "I am MOSS."}]},
        ),
        ("damo/MSAgent-Bench:mini", {"conversations": [{"from": "system", "value": '1. {"plugin_name": "a"}'}, *TALK]}),
        ("modelscope/clue", {"sentence1": "a", "sentence2": "b", "label": -1}),
        ("DAMO_NLP/jd", {"sentence": "a", "label": None}),
        ("JosephusCheung/GuanacoDataset", {"instruction": "Assistant: I\nUser: you", "input": "a", "output": "b"}),
        (
            "iic/MSAgent-MultiRole",
            {"conversations": [{"from": "system", "value": "x"}, {"from": "李白", "value": "y"}]},
        ),
        (
            "mlabonne/orpo-dpo-mix-40k",
            {
                "source": "toxic-dpo-v0.2",
                "chosen": [user("a"), assistant("b")],
                "rejected": [user("a"), assistant("c")],
            },
        ),
        ("AI-ModelScope/LLaVA-Pretrain", {"id": "1", "image": "", "conversations": SHARED}),
        ("zzliang/GRIT:caption", GRIT | {"ref_exps": []}),
        ("zzliang/GRIT:grounding", GRIT | {"ref_exps": [[0, 9, 0, 0, 1, 1, 1], [5, 14, 0, 0, 1, 1, 1]]}),
        ("lmms-lab/VideoChatGPT:Temporal", {"video_name": "v", "question": None, "answer": "a"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_that_are_left_out(spec: str, raw: Row) -> None:
    assert converted(spec, raw) is None


@pytest.mark.parametrize("author", ["Human", "ChatGPT"])
def test_one_of_the_answers_is_shown_and_named(author: str) -> None:
    shown = [converted("Hello-SimpleAI/HC3:finance", HC3 | {"question": f"Question {n}?"}) for n in range(40)]
    answer = {"Human": "Scattering.", "ChatGPT": "It scatters."}[author]
    so_named = [row["messages"] for row in shown if row and row["messages"][1]["content"] == author]
    assert 10 < len(so_named) < 30
    assert all(f"Answer: {answer}\nCategory: Human, ChatGPT" in asked["content"] for asked, _ in so_named)
    assert shown == [converted("Hello-SimpleAI/HC3:finance", HC3 | {"question": f"Question {n}?"}) for n in range(40)]


@pytest.mark.parametrize(
    ("spec", "raw", "images", "objects"),
    [
        ("jxu124/refcoco", REFERRED, ["train2014/1.jpg"], {"ref": ["the cat"], "bbox": [[10, 21, 30, 40]]}),
        (
            "zzliang/GRIT",
            GRIT,
            ["https://x/1.jpg"],
            {"ref": ["a mat"], "bbox": [[0.5, 0.5, 1, 1]], "bbox_type": "norm1"},
        ),
    ],
)
@pytest.mark.parametrize(
    ("task", "asked", "answered"), [("caption", "<bbox>", "<ref-object>"), ("grounding", "<ref-object>", "<bbox>")]
)
def test_boxes_are_asked_for_or_described(
    spec: str, raw: Row, images: list[str], objects: Row, task: str, asked: str, answered: str
) -> None:
    row = to_row(converted(f"{spec}:{task}", raw) or {})
    question, answer = row["messages"]
    assert asked in question["content"] and answer == assistant(answered)
    assert (row["images"], row["objects"]) == (images, objects)


@pytest.mark.parametrize(
    ("spec", "raw", "caption"),
    [
        ("Tongyi-DataEngine/SA1B-Dense-Caption", {"url": "u", "cap_seg": "{'global_caption': '一只猫'}"}, "一只猫"),
        (
            "Tongyi-DataEngine/SA1B-Paired-Captions-Images",
            {"opensource_url": "u", "global_caption": "一只猫"},
            "一只猫",
        ),
        ("tomg-group-umd/pixelprose:train", {"url": "u", "vlm_caption": "This image displays: A cat."}, "A cat."),
    ],
)
def test_captions_answer_one_of_a_few_questions(spec: str, raw: Row, caption: str) -> None:
    row = to_row(converted(spec, raw) or {})
    assert row["messages"][0]["content"] and row["messages"][1] == assistant(caption)
    assert row["images"] == ["u"]


@pytest.mark.parametrize("text", ["[{'from': open('x')}]", "[" * 9000, "Hi"])
def test_a_conversation_that_is_no_literal_is_refused(text: str) -> None:
    raw = {"conversations": text}
    assert converted("huangjintao/AgentInstruct_copy:os", raw) == raw
    with pytest.raises(ValueError, match="conversations"):
        to_row(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
CASES = [*TEXTS, *AGENTS, *PREFERENCES, *REWARDS, *ANSWERED, *MEDIA]


@given(st.sampled_from(CASES), st.data())
def test_a_damaged_row_never_breaks_a_converter(case: tuple[str, Row, Row], data: st.DataObject) -> None:
    spec, raw, _ = case
    before = copy.deepcopy(raw)
    column = data.draw(st.sampled_from(sorted(raw)))
    converted(spec, raw | {column: data.draw(JSON)})
    converted(spec, {key: value for key, value in raw.items() if key != column})
    assert raw == before
