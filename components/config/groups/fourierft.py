"""Parameters of FourierFT. Read by the stage `train`."""

from components.config.fields import Group, field


class FourierFt(Group):
    """FourierFT: a few spectral coefficients of the update of a layer (--tuner_type fourierft)."""

    fourier_n_frequency: int = field(2000, "coefficients of a layer, at most its number of weights", gt=0)
    fourier_scaling: float = field(300.0, "factor of the update", gt=0)
