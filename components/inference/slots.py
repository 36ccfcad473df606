"""Slots: the keys and values of many sequences in one cache, each sequence in a row of its own from position 0 on.

A sequence joins, leaves and waits without the others being computed again. What a sequence leaves behind stays in its
slot until the slot is needed, and serves the next sequence that begins with the same tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import psutil
import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

GROWTH_TOKENS = 256
"""The cache grows by multiples of this."""
GPU_SHARE, CPU_SHARE = 0.7, 0.3
"""Of the memory that is free after the model is loaded, what the cache may take: a GPU serves, a computer does more."""
MIN_REUSED_TOKENS = 8
"""Shortest beginning that is copied from another slot; computing fewer tokens costs no more."""
LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass
class _Pass:
    """Where one forward pass writes, flat indices [rows * tokens] of slots * capacity, and reads: rows, width."""

    index: torch.Tensor
    rows: "slice | torch.Tensor"
    width: int


class _SlotLayer(CacheLayerMixin):
    """The keys and values of one layer, [slots, capacity, heads, width of a head]."""

    is_sliding = False

    def __init__(self, cache: "SlotCache"):
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        shape = (self.cache.size, self.cache.capacity)
        self.keys, self.values = (
            states.new_zeros(*shape, states.shape[1], states.shape[3]) for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        now = self.cache.now
        for stored, states in ((self.keys, key_states), (self.values, value_states)):
            stored.flatten(0, 1).index_copy_(0, now.index, states.transpose(1, 2).flatten(0, 1))  # type: ignore[union-attr]
        read = (stored[now.rows, : now.width].transpose(1, 2) for stored in (self.keys, self.values))  # type: ignore[index]
        return tuple(read)  # type: ignore[return-value]

    def resize(self) -> None:
        """Move what is stored, as far as there is room, into tensors of the cache's size and capacity."""
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            stored = getattr(self, name)
            other = stored.new_zeros(self.cache.size, self.cache.capacity, *stored.shape[2:])
            size, tokens = min(len(stored), len(other)), min(stored.shape[1], other.shape[1])
            other[:size, :tokens] = stored[:size, :tokens]
            setattr(self, name, other)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002
        return self.cache.now.width, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """The keys and values of all layers in `size` slots of `capacity` tokens; both grow on demand.

    Attributes:
        budget: tokens, slots times capacity, beyond which the cache grows by no more than is asked for.
    """

    now: _Pass

    def __init__(self, layers: int):
        self.size = self.capacity = 0
        self.budget = 0
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    def reserve(self, size: int, tokens: int) -> None:
        """Grow to at least `size` slots of `tokens` tokens."""
        if size <= self.size and tokens <= self.capacity:
            return
        capacity, slots = self.capacity, self.size
        if tokens > capacity:
            capacity = rounded(max(tokens, min(capacity * 3 // 2, self.budget // max(size, slots))))
        if size > slots:
            slots = max(size, min(2 * slots, self.budget // capacity))
        self.resize(slots, capacity)

    def resize(self, size: int, capacity: int) -> None:
        """Give the cache another size and capacity; what has no room is dropped."""
        self.size, self.capacity = size, capacity
        for layer in self.layers:
            layer.resize()  # type: ignore[union-attr]

    def bytes_per_token(self) -> int:
        """Return the bytes of one token's keys and values."""
        return sum(stored[0, 0].numel() * stored.element_size() for stored in self._tensors())

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy the first tokens of a slot into another."""
        for stored in self._tensors():
            stored[target, :tokens] = stored[source, :tokens]

    def swap(self, first: int, second: int, tokens: int) -> None:
        """Exchange the first tokens of two slots."""
        for stored in self._tensors():
            stored[[first, second], :tokens] = stored[[second, first], :tokens]

    def _tensors(self) -> list[torch.Tensor]:
        return [t for layer in self.layers if layer.is_initialized for t in (layer.keys, layer.values)]  # type: ignore[misc]


def rounded(tokens: int) -> int:
    """Return the least capacity for so many tokens."""
    return -(-tokens // GROWTH_TOKENS) * GROWTH_TOKENS


@dataclass(eq=False)
class Slot:
    """One slot: the token ids whose keys and values are stored, of which model, and the request that owns the slot."""

    tokens: list[int] = field(default_factory=list)
    model: Any = None
    owner: Any = None
    used: int = 0


class SlotModel:
    """A causal model, and others that are the same base with an adapter, over one cache.

    Args:
        model: a model for which `has_slots` is true; a pass may compute with another one on the same base.
        pad: token id that fills a row of the input.
        max_tokens: tokens of the longest sequence.
    """

    def __init__(self, model: Any, pad: int, max_tokens: int):
        self.model, self.pad, self.max_tokens = model, pad, max_tokens
        base = getattr(model, "get_base_model", lambda: model)()
        self.config = base.config.get_text_config()
        self._keeps_logits = "logits_to_keep" in signature(base.forward).parameters
        self.cache = SlotCache(len(DynamicCache(config=self.config).layers))
        types = set(getattr(self.config, "layer_types", None) or ["full_attention"])
        window = getattr(self.config, "sliding_window", None)
        layers = DynamicCache(config=self.config).layers
        slides = [isinstance(layer, DynamicSlidingWindowLayer) for layer in layers]
        self._window = window if any(slides) and window and window < max_tokens else None
        self._has_both = self._window is not None and not all(slides) and len(types) > 1
        self.logits(model, [0], [[0]], [0])  # sets the sizes of the cache
        self.cache.budget = _free_bytes(model) // max(1, self.cache.bytes_per_token())

    @torch.inference_mode()
    def logits(
        self, model: Any, rows: Sequence[int], tokens: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> torch.Tensor:
        """Return the logits [rows, vocabulary] after the last of each row's new `tokens`, whose first stands at its
        position in `starts`; keys and values are stored in the slots `rows`."""
        device, longest = self.model.device, max(map(len, tokens))
        width = max(starts) + longest
        self.cache.reserve(max(rows) + 1, width)
        ids = torch.tensor([[*row, *[self.pad] * (longest - len(row))] for row in tokens], device=device)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(longest, device=device)
        slots = torch.tensor(rows, device=device)
        is_prefix = rows[0] == 0 and rows[-1] == len(rows) - 1
        index = (slots[:, None] * self.cache.capacity + positions).flatten()
        self.cache.now = _Pass(index, slice(0, len(rows)) if is_prefix else slots, width)
        last = sorted({len(row) - 1 for row in tokens})
        kept = {"logits_to_keep": torch.tensor(last, device=device)} if self._keeps_logits else {}
        output = model(
            input_ids=ids,
            attention_mask=self._mask(positions, width),
            position_ids=positions.clamp(max=self.max_tokens - 1),
            past_key_values=self.cache,
            use_cache=True,
            **kept,
        ).logits
        columns = [last.index(len(row) - 1) if self._keeps_logits else len(row) - 1 for row in tokens]
        return output[:, columns[0]] if len(set(columns)) == 1 else output[range(len(rows)), columns]

    def _mask(self, positions: torch.Tensor, width: int) -> Any:
        """Return the additive mask [rows, 1, tokens, width]: a token sees its own sequence up to itself."""
        keys = torch.arange(width, device=positions.device)
        queries = positions[:, None, :, None]
        lowest = torch.finfo(self.model.dtype).min
        zeros = torch.zeros((), dtype=self.model.dtype, device=positions.device)
        full = torch.where(keys <= queries, zeros, lowest)
        if self._window is None:
            return full
        sliding = torch.where((keys <= queries) & (keys > queries - self._window), zeros, lowest)
        return {"full_attention": full, "sliding_attention": sliding} if self._has_both else sliding


def _free_bytes(model: Any) -> int:
    """Return how much memory the cache may take: a share of what is free beside the model."""
    if model.device.type == "cuda":
        return int(GPU_SHARE * torch.cuda.mem_get_info(model.device)[0])
    return int(CPU_SHARE * psutil.virtual_memory().available)


def has_slots(model: Any) -> bool:
    """Return whether a model can be computed by SlotModel: all layers attend, positions do not turn by the length so
    far, and a short input gives the logits that an ordinary forward pass gives."""
    base = getattr(model, "get_base_model", lambda: model)()
    config = base.config.get_text_config()
    if not {"past_key_values", "position_ids", "attention_mask"} <= signature(base.forward).parameters.keys():
        return False
    others = {type(layer) for layer in DynamicCache(config=config).layers} - {DynamicLayer, DynamicSlidingWindowLayer}
    rope_types = " ".join(str(getattr(module, "rope_type", "")) for module in base.modules())
    if others or "dynamic" in rope_types or "longrope" in rope_types or not getattr(config, "use_cache", True):
        return False
    if not set(getattr(config, "layer_types", None) or ()) <= LAYER_TYPES:
        return False
    try:
        return _gives_the_same(model)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False  # its forward pass takes no such mask or cache


@torch.inference_mode()
def _gives_the_same(model: Any) -> bool:
    """Return whether two short sequences, in parts and in exchanged slots, have the logits of ordinary passes."""
    vocabulary = model.get_input_embeddings().num_embeddings
    first, second = ([seed * i % vocabulary for i in range(1, length)] for seed, length in ((7, 8), (13, 5)))
    slots = SlotModel(model, 0, len(first))
    slots.logits(model, [1, 0], [first[:3], second], [0, 0])
    slots.cache.swap(0, 1, len(first))
    parted = slots.logits(model, [0, 1], [first[3:], second[-1:]], [3, len(second) - 1])
    whole = [model(input_ids=torch.tensor([row], device=model.device)).logits[0, -1] for row in (first, second)]
    expected = torch.stack(whole).float()
    tolerance = 100 * torch.finfo(model.dtype).eps * expected.abs().max().item()
    return bool((parted.float() - expected).abs().max() <= tolerance)


def shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of tokens at the beginning that two sequences share."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[low:middle] == second[low:middle] else (low, middle - 1)
    return low
