"""`martlet export` as users type it: what it writes, what it says, and what it refuses."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.files import is_intact, read_json
from tests.commands import martlet
from tests.tasks.stages.test_quantize import GARBLES


def test_a_model_that_garbles_is_not_exported_unless_min_agreement_says_so(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "garbles.py").write_text(GARBLES.replace("FACTOR", "-9"))
    words = ["export", "--model", tiny_model, "--quant_method", "garbles", "--external_plugins", "garbles.py"]
    words += ["--output_dir", "garbled"]
    error = martlet(tmp_path, *words, code=1)
    assert "garbles: the quantized model garbles: it chooses only" in error
    assert not list(tmp_path.glob("*garbled*"))
    assert "garbles in " in martlet(tmp_path, *words, "--min_agreement", 0)
    assert read_json(tmp_path / "garbled/quantize.json")["greedy"]["following"] < 0.5


@pytest.mark.parametrize(("bits", "variant"), [(8, "bnb-int8"), (4, "bnb-nf4")])
def test_a_quantized_model_says_what_it_is_and_how_it_answers(
    tiny_model: Path, tmp_path: Path, bits: int, variant: str
) -> None:
    words = ["export", "--model", tiny_model, "--quant_method", "bnb", "--quant_bits", bits, "--output_dir", "q"]
    printed = martlet(tmp_path, *words)
    report = read_json(tmp_path / "q/quantize.json")
    assert f"{variant} in {tmp_path}/q\n" in printed
    assert f"{report['bits_per_weight_after']:g} bits a weight" in printed
    assert f"greedy answers to 16 questions of Martlet's own: {report['greedy']['token_agreement']:.1%}" in printed
    assert "tokens a second: " in printed
    assert bits < report["bits_per_weight_after"] < 20 < report["bits_per_weight_before"]
    assert is_intact(tmp_path / "q")
    assert f"# model, {variant}" in (tmp_path / "q/README.md").read_text()
    model, tokenizer = (cls.from_pretrained(tmp_path / "q") for cls in (AutoModelForCausalLM, AutoTokenizer))
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_model).chat_template
