"""Images, videos and sound beside the text. A file is named as the dataset names it; nothing is fetched or opened."""

from itertools import pairwise
from typing import Any

from components.data.catalogue.converters import Raw, chat, first, literal, pick

CAPTION = "What is the caption of this image?"
_DESCRIBE = ("Give the description of this image.", "Describe this picture", "What is the proper title of this image?")
_DESCRIBE_ZH = ("图片中展示了什么", "讲述一下图片中内容", "告诉我里面有什么", "图片内容是啥")
_GROUND = ("Find <ref-object>", "Where is <ref-object>", "Locate <ref-object>", "找到<ref-object>的位置")
_NAME = ("What is the object at <bbox>", "Describe <bbox>", "This <bbox> is", "<bbox>是什么")


def first_answer(raw: Raw) -> Raw:
    """Of several reference answers the first."""
    return raw | {"response": first(raw["response"])}


def textcaps(raw: Raw) -> Raw:
    """The first of the reference captions."""
    return chat(CAPTION, first(raw["reference_strs"]), images=raw["images"])


def a_okvqa(raw: Raw) -> Raw:
    """The first rationale is the answer, as in ms-swift."""
    return chat(raw["question"], first(raw["rationales"]), images=raw["images"])


def science_qa(raw: Raw) -> Raw:
    """The solution, then the choice; the image where the row has one."""
    answer = raw["choices"][raw["answer"]]
    return chat(raw["question"], f"{raw['solution']}\nSo the final answer is: {answer}", images=raw.get("images"))


def ocr_vqa(raw: Raw) -> Raw:
    """One of the questions on a cover, always the same one of a row."""
    question = pick(raw["questions"], raw["questions"][0])
    return chat(question, raw["answers"][raw["questions"].index(question)], images=raw["images"])


def question_answer_pairs(raw: Raw) -> Raw:
    """Turns that hold `question` and `answer`: lnqa (`qa`) and Midefics (`conversation`, inside `data`)."""
    key = next((name for name in ("qa", "conversation", "conversations") if name in raw), "messages")
    pairs = literal(raw[key])
    pairs = pairs["data"] if isinstance(pairs, dict) else pairs
    messages = [turn for pair in pairs for turn in chat(pair["question"], pair["answer"])["messages"]]
    return {"messages": messages, "images": raw["images"]}


def sa1b_dense(raw: Raw) -> Raw:
    """The caption of the whole image, out of a text of Python objects."""
    caption = literal(raw["cap_seg"])["global_caption"]
    return chat(pick(_DESCRIBE_ZH, caption), caption, images=raw["images"])


def sa1b_paired(raw: Raw) -> Raw:
    """The caption of the whole image."""
    return chat(pick(_DESCRIBE_ZH, raw["global_caption"]), raw["global_caption"], images=raw["images"])


def coco_caption(raw: Raw) -> Raw:
    """The first of the captions, which `&&` separates."""
    return chat("please describe the image.", raw["caption"].partition("&&")[0], images=raw["images"])


def pixelprose(raw: Raw) -> Raw:
    """The caption without its set opening."""
    caption = raw["vlm_caption"].removeprefix("This image displays:").strip()
    return chat(pick(_DESCRIBE, caption), caption, images=raw["images"])


def parts_as_text(raw: Raw) -> Raw:
    """OpenAI's parts as one text with `<image>` where an image stands."""
    messages = [
        {
            "role": message["role"],
            "content": "".join("<image>" if part["type"] == "image" else part["text"] for part in message["content"]),
        }
        for message in raw["messages"]
    ]
    return {"messages": messages, "images": raw["images"]}


def shared_conversation(raw: Raw) -> Raw | None:
    """A ShareGPT conversation about files that lie in an archive beside it; rows without any are left out."""
    if not raw["images"]:
        return None
    files = [image["path"] if isinstance(image, dict) else image for image in raw["images"]]
    key = "messages" if "messages" in raw else "conversations"
    return {key: raw[key], "images": files}


def refcoco_caption(raw: Raw) -> Raw:
    """What is in this box?"""
    return _grounded(raw, pick(_NAME, raw["image_path"]), "<ref-object>")


def refcoco_grounding(raw: Raw) -> Raw:
    """Where is this thing?"""
    return _grounded(raw, pick(_GROUND, raw["image_path"]), "<bbox>")


def _grounded(raw: Raw, query: str, response: str) -> Raw:
    objects = {"ref": [raw["captions"][0]], "bbox": [[round(float(edge)) for edge in raw["bbox"]]]}
    image = raw["image_path"].replace("coco/train2014", "train2014")
    return chat(query, response, images=[image], objects=objects)


def grit_caption(raw: Raw) -> Raw | None:
    """What is in these boxes?"""
    return _grit(raw, pick(_NAME, raw["caption"]), "<ref-object>")


def grit_grounding(raw: Raw) -> Raw | None:
    """Where are these things?"""
    return _grit(raw, pick(_GROUND, raw["caption"]), "<bbox>")


def grit_vqa(raw: Raw) -> Raw | None:
    """The caption of the whole image."""
    return _grit(raw, "what is the proper caption of this image?", raw["caption"])


def _grit(raw: Raw, query: str, response: str) -> Raw | None:
    """`ref_exps` holds [start, end, x1, y1, x2, y2, confidence]; rows without any or with overlaps are left out."""
    spans = sorted([int(start), int(end)] for start, end, *_ in raw["ref_exps"])
    if not spans or any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
        return None
    refs = [raw["caption"][int(start) : int(end)] for start, end, *_ in raw["ref_exps"]]
    objects = {"ref": refs, "bbox": [expression[2:6] for expression in raw["ref_exps"]], "bbox_type": "norm1"}
    return chat(query, response, images=raw["images"], objects=objects)


_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,"
    "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
_VOC = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,pottedplant,"
    "sheep,sofa,train,tvmonitor"
)
COCO, VOC = _COCO.split(","), _VOC.split(",")


def coco_detection(raw: Raw) -> Raw:
    """Every object with its name and box."""
    annotations = raw["objects"]
    objects: dict[str, Any] = {"ref": [COCO[number] for number in annotations["category"]], "bbox": annotations["bbox"]}
    response = "\n".join(["<ref-object><bbox>"] * len(objects["ref"]))
    return chat("Task: Object Detection", response, images=raw["images"], objects=objects)


def voc_labels(raw: Raw) -> Raw:
    """The names of what is in the image; `npy` holds a 1 for each class that is."""
    present = [name for name, there in zip(VOC, raw["npy"], strict=True) if there == 1]
    return chat(f"多标签分类，类别包括：{', '.join(VOC)}", ", ".join(present), images=raw["images"])


def garbage(raw: Raw) -> Raw:
    """The number of the class as the answer."""
    return chat("Task: Classify household waste.", str(raw["category"]), images=raw["images"])


def clevr(raw: Raw) -> Raw:
    """Asked to think first; `solution` is for a reward to compare with."""
    query = (
        f"{raw['problem']} Output the thinking process in <think> </think> and "
        "final answer (number) in <answer> </answer> tags."
    )
    return chat(query, raw["solution"], images=raw["images"], extra={"solution": raw["solution"]})


def aishell(raw: Raw) -> Raw:
    """Speech to text, without the spaces between the words."""
    return chat("语音转文本", raw["Text:LABEL"].replace(" ", ""), audios=raw["audios"])


def gqa(raw: Raw) -> Raw:
    """The full answer; images are named by their number."""
    return chat(raw["question"], raw["fullAnswer"], images=[f"images/{raw['imageId']}.jpg"])


def egoschema(raw: Raw) -> Raw:
    """A question with five options, answered by a letter."""
    query = "\n".join([raw["question"], *raw["option"]])
    return chat(query, "ABCDE"[int(raw["answer"])], videos=[f"videos/{raw['video_idx']}.mp4"])


def movie_chat(raw: Raw) -> Raw:
    """The first question on the whole video."""
    questions = raw["global"][0]
    return chat(questions["question"], questions["answer"], videos=[f"videos/{raw['info']['video_path']}"])


def video_chatgpt(raw: Raw) -> Raw | None:
    """The first question that the row has."""
    questions = [raw.get(key) for key in ("question", "question_1", "question_2")]
    query = next((text for text in questions if text and text != "None"), None)
    return chat(query, raw["answer"], videos=[f"Test_Videos/{raw['video_name']}.mp4"]) if query else None
