"""Answers of reinforcement learning by vLLM, on the adapter that is trained."""

import os
import secrets
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import tuners
from components.config import Params
from components.inference.engines import vllm
from components.inference.rollout_engine import RolloutEngine
from components.rewards import Reward
from tasks.stages.rollouts import LocalRollouts


class VllmRollouts(LocalRollouts):
    """Answers by a vLLM that is started here, or that runs elsewhere; before each sampling it gets the adapter as a
    folder. The key of one that runs elsewhere is MARTLET_VLLM_API_KEY or VLLM_API_KEY.

    Args:
        base: folder of the model below the adapter.

    Raises:
        ConfigError: as `LocalRollouts`.
    """

    def __init__(
        self, params: Params, tokenizer: Any, external: list[Path], judges: Sequence[Reward] = (), *, base: Path
    ) -> None:
        super().__init__(params, tokenizer, external, judges)
        self.base, self.running, self.samplings = base, ExitStack(), 0
        self.method = tuners.TUNERS.load(params.tuner.tuner_type, external)
        self.name = f"martlet-{secrets.token_hex(4)}"

    @cached_property
    def engine(self) -> Any:
        """The engine, which is started with the first answers."""
        settings = self.params.rollout
        if settings.vllm_mode == "server":
            root = str(settings.vllm_server_base_url).rstrip("/").removesuffix("/v1")
            key = os.environ.get("MARTLET_VLLM_API_KEY") or os.environ.get("VLLM_API_KEY")
        else:
            program = self.running.enter_context(vllm.sampling(self.base, self.params, self.params.lora.lora_rank))
            root, key = program.root, program.key
        engine = RolloutEngine(root, self.tokenizer, key)
        self.running.callback(engine.close)
        return engine

    @contextmanager
    def _answering(self, model: Any) -> Generator[None]:
        """Let vLLM answer with the adapter of `model` as it is now."""
        self.samplings += 1
        with TemporaryDirectory(prefix="martlet-adapter-") as folder:
            self.method.save(model, Path(folder, "adapter"), str(self.base))
            self.engine.adopt(f"{self.name}-{self.samplings}", Path(folder, "adapter"))
            yield

    def close(self) -> None:
        """End what was started."""
        self.running.close()
