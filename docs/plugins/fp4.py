"""A quantized base: bitsandbytes' FP4. `--quant_method fp4 --external_plugins fp4.py`"""


def config(params, dtype):
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=dtype)


def prepare(model):
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
