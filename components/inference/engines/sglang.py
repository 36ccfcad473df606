"""SGLang: not built in yet."""

from components.inference.engines._elsewhere import refused

served = refused("sglang")
