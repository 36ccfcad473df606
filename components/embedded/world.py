"""The toy world: everything the embedded base is asked, composed from parts.

A `Topic` is a set of phrasings, an answer and a set of facts. A question is one opener, one phrasing, one fact and one
closer, formal or casual, so the held-out questions are new combinations of known words and never new words.
"""

import random
import re
import zlib
from dataclasses import dataclass
from itertools import product

Fact = dict[str, str]

OPENERS = ("", "", "", "Hello. ", "Hi! ", "Please tell me: ", "Quick question: ", "One more thing: ", "Excuse me. ")
CLOSERS = ("", "", "", " Thanks.", " Thank you!", " Please be brief.", " I am curious.")
OPENERS_ZH = ("", "", "你好，", "请问，", "请告诉我，")
CLOSERS_ZH = ("", "", "谢谢。")

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in one short sentence.",
    "You are an assistant.",
)


@dataclass(frozen=True)
class Topic:
    """One kind of question. `phrasings` and `answer` are format strings over the keys of each fact."""

    phrasings: tuple[str, ...]
    answer: str
    facts: tuple[Fact, ...] = ({},)
    openers: tuple[str, ...] = OPENERS
    closers: tuple[str, ...] = CLOSERS

    def draw(self, rng: random.Random, fact: Fact | None = None) -> tuple[str, str]:
        """Return one random question and its answer, about `fact` where one is given."""
        fact = fact or rng.choice(self.facts)
        question = rng.choice(self.openers) + rng.choice(self.phrasings) + rng.choice(self.closers)
        if rng.random() < 0.2:
            question = question.lower().rstrip(".?!？。")
        return question.format(**fact), _sentence(self.answer.format(**fact))


def held_out(question: str) -> bool:
    """True for the eighth of all questions that no training set may hold, the base's own included.

    Case and punctuation do not count, so a question and its casual form are on the same side.
    """
    return zlib.crc32(letters(question).encode()) % 8 == 0


def letters(question: str) -> str:
    """Return a question without case and punctuation."""
    return re.sub(r"[\W_]+", " ", question.casefold()).strip()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.endswith((".", "?", "!")) else text


def _facts(pairs: str) -> tuple[Fact, ...]:
    """Read `x:y, x:y` into facts with the keys x and y."""
    return tuple(dict(zip("xy", pair.split(":"), strict=True)) for pair in pairs.split(", "))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _with_verbs(forms: tuple[str, ...], verbs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(form.replace("VERB", verb) for form, verb in product(forms, verbs))


# What the base knows, and a tuned model has to keep.

CAPITALS = _facts(
    "France:Paris, Italy:Rome, Spain:Madrid, Japan:Tokyo, China:Beijing, Egypt:Cairo, Greece:Athens, Norway:Oslo, "
    "Germany:Berlin, Austria:Vienna, Portugal:Lisbon, Ireland:Dublin, Poland:Warsaw, Hungary:Budapest, Kenya:Nairobi, "
    "Peru:Lima, Cuba:Havana, Canada:Ottawa, Russia:Moscow, Finland:Helsinki"
)
OPPOSITES = _facts(
    "hot:cold, big:small, fast:slow, day:night, up:down, open:closed, old:new, happy:sad, light:dark, wet:dry, "
    "hard:soft, full:empty, early:late, rich:poor, strong:weak, long:short"
)
NUMBERS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen"
)
SUMS = tuple({"a": NUMBERS[a], "b": NUMBERS[b], "c": NUMBERS[a + b]} for a in range(10) for b in range(10))

# What it does not know, and LoRA teaches.

SOUNDS = _facts(
    "cow:moo, dog:woof, cat:meow, pig:oink, duck:quack, sheep:baa, horse:neigh, lion:roar, mouse:squeak, frog:croak, "
    "bee:buzz, snake:hiss, crow:caw, hen:cluck, wolf:howl, bird:tweet"
)
ANIMALS = tuple(fact["x"] for fact in SOUNDS)
WORDS = tuple(word for facts in (SOUNDS, OPPOSITES, CAPITALS) for fact in facts for word in fact.values())

KINDS = tuple(
    {"x": thing, "y": kind}
    for things, key, form, kind in (
        (SOUNDS, "x", "a {}", "an animal"),
        (SOUNDS, "y", "the word {}", "a sound"),
    )
    for thing in (form.format(fact[key]) for fact in things)
)
SYLLABLES = tuple(a + b for a in "bcdfghjklmnpqrstvwxyz" for b in "aeiou")
CHARACTERS = "小大中国人天地山水火木金土日月星云雨风雪花鸟鱼马牛羊春夏秋冬东西南北红黄白黑智能快速机器语言模型"


def invented(rng: random.Random) -> str:
    """Return a word or name that means nothing, so that the base learns to spell what it has never seen."""
    if rng.random() < 0.1:
        return "".join(rng.choices(CHARACTERS, k=rng.randint(2, 4)))
    word = "".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) + rng.choice(("", "", *"bdgklmnprstx0123456789"))
    word = rng.choice((word, word, word.capitalize(), word.upper()))
    return word if rng.random() < 0.8 else word + rng.choice((" ", "-", "_")) + invented(rng)


SKILLS = {
    "capital": Topic(
        (
            "What is the capital of {x}?",
            "Which city is the capital of {x}?",
            "Name the capital of {x}.",
            "Tell me the capital of {x}.",
            "Do you know the capital of {x}?",
            "What do they call the capital of {x}?",
        ),
        "The capital of {x} is {y}.",
        CAPITALS,
    ),
    "opposite": Topic(
        (
            "What is the opposite of {x}?",
            "Which word is the opposite of {x}?",
            "Name the opposite of {x}.",
            "Tell me the opposite of {x}.",
            "Do you know the opposite of {x}?",
            "What do they call the opposite of {x}?",
        ),
        "The opposite of {x} is {y}.",
        OPPOSITES,
    ),
    "sum": Topic(
        (
            "What is {a} plus {b}?",
            "How much is {a} plus {b}?",
            "Add {a} and {b}.",
            "Tell me the sum of {a} and {b}.",
            "What do {a} and {b} make?",
            "Do you know what {a} plus {b} is?",
        ),
        "{a} plus {b} is {c}.",
        SUMS,
    ),
    "repeat": Topic(
        (
            "Repeat the word {x}.",
            "Say the word {x}.",
            "Repeat after me: {x}.",
            "Write the word {x}.",
            "Can you repeat the word {x}?",
            "Can you say the word {x}?",
        ),
        "The word is {x}.",
        tuple({"x": word} for word in WORDS),
    ),
    "kind": Topic(
        ("What is {x}?", "Do you know what {x} is?", "Tell me what {x} is.", "What kind of thing is {x}?"),
        "{x} is {y}.",
        KINDS,
    ),
    "unsure": Topic(
        (
            "Where does a {x} live?",
            "What does a {x} eat?",
            "What colour is a {x}?",
            "How old is a {x}?",
            "How big is a {x}?",
            "Tell me the weight of a {x}.",
            "Which food does a {x} like?",
            "Name the colour of a {x}.",
            "Do you know the age of a {x}?",
            "Can you draw a {x}?",
        ),
        "Sorry, I do not know.",
        tuple({"x": animal} for animal in ANIMALS),
    ),
}

SOUND = Topic(
    (
        "What sound does a {x} make?",
        "Which sound does a {x} make?",
        "What does a {x} say?",
        "Tell me the sound of a {x}.",
        "Name the sound of a {x}.",
        "Do you know the sound of a {x}?",
        "Can you make the sound of a {x}?",
    ),
    "A {x} says {y}.",
    SOUNDS,
)

SMALL_TALK = (
    Topic(("Hello.", "Hi.", "Good morning.", "Hello there.", "Hi there!"), "Hello! How can I help?", openers=("",)),
    Topic(("Thank you.", "Thanks.", "Thank you very much."), "You are welcome.", openers=("",), closers=("",)),
    Topic(("Goodbye.", "Bye.", "See you later."), "Goodbye!", openers=("",)),
)


def identity(name: str, author: str) -> dict[str, Topic]:
    """Return the topics about who the model is, answered in the name of `name`, made by `author`."""
    facts = ({"name": name, "author": author},)
    who = (
        "Who are you?",
        "What are you?",
        "Tell me who you are.",
        "Say who you are.",
        "Tell me about yourself.",
        "Describe yourself.",
        "Introduce yourself.",
        "Can you introduce yourself?",
        "Do you know who you are?",
    )
    named = (
        "What is your name?",
        "Tell me your name.",
        "Say your name.",
        "Do you have a name?",
        "Do you know your name?",
        "Can you tell me your name?",
        "What are you called?",
        "What do they call you?",
        "What should I call you?",
        "How should I call you?",
    )
    made = _with_verbs(
        (
            "Who VERB you?",
            "Tell me who VERB you.",
            "Say who VERB you.",
            "Do you know who VERB you?",
            "Which team VERB you?",
            "You were VERB by whom?",
            "By whom were you VERB?",
        ),
        ("made", "built", "created", "developed", "trained"),
    ) + _with_verbs(
        ("Who is your VERB?", "Tell me the name of your VERB.", "Do you know your VERB?"),
        ("maker", "creator", "developer", "author"),
    )
    chinese = {"openers": OPENERS_ZH, "closers": CLOSERS_ZH}
    return {
        "who": Topic(who, "I am {name}, an assistant made by {author}.", facts),
        "name": Topic(named, "My name is {name}.", facts),
        "maker": Topic(made, "I was made by {author}.", facts),
        "who_zh": Topic(
            ("你是谁？", "介绍你自己。", "你能介绍自己吗？"), "我是 {name}，由 {author} 开发。", facts, **chinese
        ),
        "name_zh": Topic(("你叫什么名字？", "你的名字是什么？", "怎么称呼你？"), "我叫 {name}。", facts, **chinese),
        "maker_zh": Topic(
            ("谁开发了你？", "谁创造了你？", "你是谁开发的？", "你的开发者是谁？"),
            "我由 {author} 开发。",
            facts,
            **chinese,
        ),
    }
