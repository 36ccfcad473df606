"""A tuner: only the norms' weights learn. `martlet sft --tuner_type norms --external_plugins norms.py …`"""

from safetensors.torch import load_file, save_file

from components.errors import ConfigError, MartletError

LEARNING_RATE = 1e-3
FILE = "norms.safetensors"


def wrap(model, params, seed):
    for name, weight in model.named_parameters():
        weight.requires_grad_("norm" in name)
    return model


def save(model, folder, base=None):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.detach().clone() for name, weight in _norms(model)}, folder / FILE)


def restore(model, folder):
    if not (folder / FILE).is_file():
        raise ConfigError(f"{folder}: no {FILE} there")
    tensors = load_file(folder / FILE)
    if tensors.keys() != {name for name, _ in _norms(model)}:
        raise MartletError(f"{folder}: the norms are those of another model")
    for name, weight in _norms(model):
        weight.data.copy_(tensors[name])


def load(model, folder):
    restore(model, folder)
    return model.eval()


def merge(model):
    return model


def _norms(model):
    return [(name, weight) for name, weight in model.named_parameters() if "norm" in name]
