"""Which settings do not fit the size of the model: the defaults are those of large ones."""

from __future__ import annotations

from collections.abc import Mapping

SMALL_MODEL = 10_000_000
"""Parameters below which a model needs the learning rates of the preset `tiny`."""
LEAST_RATES: Mapping[str, float] = {"sft.lr": 1e-4, "optimizer.lr": 1e-5}
"""Learning rates by setting, below which a model that small learns next to nothing."""


def hint_for_size(num_parameters: int, key: str, rate: float) -> str:
    """Hint at settings for small models where a learning rate is one for large ones; else "".

    Args:
        num_parameters: of the model that is to be trained.
        key: the setting of the learning rate, one of `LEAST_RATES`.
        rate: its value.
    """
    if num_parameters >= SMALL_MODEL or rate >= LEAST_RATES[key]:
        return ""
    return (
        f"the model has {num_parameters / 1e6:.2g} M parameters, and {key}={rate:g} is a rate for "
        "models of billions: it will learn next to nothing. Add --config tiny, which has what was "
        f"measured for models below {SMALL_MODEL // 1_000_000} M parameters"
    )
