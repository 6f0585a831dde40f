"""Wrong settings: a hint is near, of the right kind and at the right place, or there is none."""

import pytest

from declutch.config.files import load_config
from declutch.ground.errors import UserError

TYPOS = {
    # Nearly the same name in the same section.
    "gcd.wieght=1": "unknown setting 'gcd.wieght'; did you mean 'gcd.weight'?",
    "trian.iterations=1": "unknown section 'trian'; did you mean 'train'?",
    "sede=1": "unknown setting 'sede'; did you mean 'seed'?",
    "train.iteration=3": "unknown setting 'train.iteration'; did you mean 'train.iterations'?",
    "gcd.suggestion.every=3": "unknown section 'gcd.suggestion'; did you mean 'gcd.suggestions'?",
    "gcd.suggestions.evry=3": (
        "unknown setting 'gcd.suggestions.evry'; did you mean 'gcd.suggestions.every'?"
    ),
    "env.household.seed=3": "unknown section 'env.household'; did you mean 'env.households'?",
    "algorithm.std_nrom=true": (
        "unknown setting 'algorithm.std_nrom'; did you mean 'algorithm.std_norm'?"
    ),
    # The same name in another section.
    "iterations=3": "unknown setting 'iterations'; did you mean 'train.iterations'?",
    "train.lr=1": "unknown setting 'train.lr'; did you mean 'sft.lr' or 'optimizer.lr'?",
    "suggestions.every=3": "unknown section 'suggestions'; did you mean 'gcd.suggestions'?",
    "train.suite=math": "unknown setting 'train.suite'; did you mean 'env.suite'?",
    # Nothing near: a section is no setting, and a setting no section.
    "nonsense.key=1": None,
    "nonsense=1": None,
    "seeds.key=1": None,
    "trian=1": None,
    "loss.x=1": None,
    "optimizer.learning_rate=1": None,
}


@pytest.mark.parametrize("override", TYPOS)
def test_a_hint_is_near_and_at_the_right_place(override: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(None, [override])
    message = str(error.value).removeprefix("the command line: ")
    expected = TYPOS[override]
    if expected is None:
        assert "did you mean" not in message
        assert "; known: " in message
    else:
        assert message == expected


def test_without_a_hint_the_names_of_the_place_are_listed() -> None:
    known = "unknown section 'x'; known: seed, threads, processes, env, agent,"
    with pytest.raises(UserError, match=known):
        load_config(None, ["x.y=1"])
    with pytest.raises(UserError, match=r"'algorithm\.x'; known: group_stats, type$"):
        load_config(None, ["algorithm.type=rloo", "algorithm.x=1"])


@pytest.mark.parametrize(
    "setting",
    [
        *("endpoint", "endpoint.api_key", "endpoint.key", "endpoint.api_key_env", "api_key"),
        *("endpoint.base_url", "endpoint.max_calls", "endpoint.cache_dir.x"),
    ],
)
def test_a_key_in_the_wrong_place_is_never_repeated(setting):
    with pytest.raises(UserError) as caught:
        load_config(None, [f"{setting}=sk-very-secret-0123456789"])
    assert "secret" not in str(caught.value)
