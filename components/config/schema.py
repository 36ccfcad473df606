"""The schema: all groups of parameters; leaf names are unique over all groups."""

from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from components.config.fields import Group
from components.config.groups.adalora import AdaLora
from components.config.groups.adapter import Adapter
from components.config.groups.boft import Boft
from components.config.groups.classification import Classification
from components.config.groups.data import Data
from components.config.groups.distillation import Distillation
from components.config.groups.distributed import Distributed
from components.config.groups.embedding import Embedding
from components.config.groups.evaluate import Evaluate
from components.config.groups.export import Export
from components.config.groups.fourierft import FourierFt
from components.config.groups.freezing import Freezing
from components.config.groups.galore import Galore
from components.config.groups.gate import Gate
from components.config.groups.generation import Generation
from components.config.groups.lisa import Lisa
from components.config.groups.llamapro import LlamaPro
from components.config.groups.lmdeploy import Lmdeploy
from components.config.groups.lora import Lora
from components.config.groups.loraplus import LoraPlus
from components.config.groups.lycoris import Lycoris
from components.config.groups.merge import Merge
from components.config.groups.method import Method
from components.config.groups.model import Model
from components.config.groups.multimodal import Multimodal
from components.config.groups.oft import Oft
from components.config.groups.plugins import Plugins
from components.config.groups.ppo import Ppo
from components.config.groups.preference import Preference
from components.config.groups.prefix import Prefix
from components.config.groups.quantization import Quantization
from components.config.groups.quantize import Quantize
from components.config.groups.reft import Reft
from components.config.groups.registry import Registry
from components.config.groups.reward import Reward
from components.config.groups.rollout import Rollout
from components.config.groups.run import Run
from components.config.groups.sample import Sample
from components.config.groups.serve import Serve
from components.config.groups.sglang import Sglang
from components.config.groups.template import Template
from components.config.groups.towers import Towers
from components.config.groups.tracking import Tracking
from components.config.groups.train import Train
from components.config.groups.tuner import Tuner
from components.config.groups.validation import Validation
from components.config.groups.vera import Vera
from components.config.groups.vllm import Vllm

FAMILIES = (
    "lora", "adalora", "vera", "boft", "oft", "lycoris", "fourierft", "adapter", "reft", "llamapro", "prefix",
    "freezing", "towers", "loraplus", "galore", "lisa", "classification", "embedding", "preference", "reward",
    "rollout", "ppo", "distillation", "quantization", "distributed",
)  # fmt: skip
"""Groups of parameters that belong to methods of training."""
SAVED_GROUPS = ("method", "template", "multimodal", "tuner", "train", "plugins", *FAMILIES)
"""Groups that a checkpoint's args.json holds, and that a command on the checkpoint goes by."""


class Params(Group):
    """The resolved parameters of a run."""

    data: Data = Data()
    validation: Validation = Validation()
    model: Model = Model()
    method: Method = Method()
    classification: Classification = Classification()
    embedding: Embedding = Embedding()
    preference: Preference = Preference()
    template: Template = Template()
    multimodal: Multimodal = Multimodal()
    quantization: Quantization = Quantization()
    tuner: Tuner = Tuner()
    lora: Lora = Lora()
    adalora: AdaLora = AdaLora()
    vera: Vera = Vera()
    boft: Boft = Boft()
    oft: Oft = Oft()
    lycoris: Lycoris = Lycoris()
    fourierft: FourierFt = FourierFt()
    adapter: Adapter = Adapter()
    reft: Reft = Reft()
    llamapro: LlamaPro = LlamaPro()
    prefix: Prefix = Prefix()
    freezing: Freezing = Freezing()
    towers: Towers = Towers()
    train: Train = Train()
    loraplus: LoraPlus = LoraPlus()
    galore: Galore = Galore()
    lisa: Lisa = Lisa()
    reward: Reward = Reward()
    rollout: Rollout = Rollout()
    ppo: Ppo = Ppo()
    distillation: Distillation = Distillation()
    distributed: Distributed = Distributed()
    plugins: Plugins = Plugins()
    merge: Merge = Merge()
    quantize: Quantize = Quantize()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    registry: Registry = Registry()
    gate: Gate = Gate()
    generation: Generation = Generation()
    sample: Sample = Sample()
    serve: Serve = Serve()
    vllm: Vllm = Vllm()
    lmdeploy: Lmdeploy = Lmdeploy()
    sglang: Sglang = Sglang()
    tracking: Tracking = Tracking()
    run: Run = Run()


class Leaf(NamedTuple):
    """One parameter: its group, its name and its pydantic field."""

    group: str
    name: str
    info: FieldInfo

    @property
    def default(self) -> Any:
        return self.info.get_default(call_default_factory=True)

    @property
    def aliases(self) -> list[str]:
        return self.info.json_schema_extra["aliases"]  # type: ignore[index,call-overload,return-value]

    @property
    def kind(self) -> type:
        """The plain type of the value: int for `int | None`, str for a Literal."""
        for candidate in (self.info.annotation, *get_args(self.info.annotation)):
            plain: Any = get_origin(candidate) or candidate
            if plain in (list, dict, bool, int, float):
                return plain
        return str

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that are allowed, or an empty tuple where any value of the type is."""
        literals = [a for a in (self.info.annotation, *get_args(self.info.annotation)) if get_origin(a) is Literal]
        return tuple(str(value) for literal in literals for value in get_args(literal))


GROUPS: dict[str, type[Group]] = {name: info.annotation for name, info in Params.model_fields.items()}  # type: ignore[misc]
LEAVES: dict[str, Leaf] = {
    name: Leaf(group, name, info) for group, model in GROUPS.items() for name, info in model.model_fields.items()
}
CANONICAL: dict[str, str] = {name: leaf.name for leaf in LEAVES.values() for name in (leaf.name, *leaf.aliases)}
"""Leaf name, by leaf name or alias."""
