"""What stands beside a cosine: a null that is uniform, noise that is taken out, episodes kept."""

import math

import pytest
import torch
from scipy import stats

from declutch.coupling.cosines import choose_populations, measure_cosines, weigh
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError


def make_samples(labels, domains, episodes=None, advantages=None):
    none = [None] * len(labels)
    return [
        LabelledSample(
            line=number + 1,
            prompt_ids=torch.tensor([1]),
            response_ids=torch.arange(1 + number % 3),
            label=label,
            domain=domain,
            episode=str(episode if episode is not None else number),
            advantage=advantage,
        )
        for number, (label, domain, episode, advantage) in enumerate(
            zip(labels, domains, episodes or none, advantages or none, strict=True)
        )
    ]


def random_gram(count, seed=0, width=40, common=1.0):
    draw = torch.Generator().manual_seed(seed)
    shared = common * torch.randn(width, generator=draw, dtype=torch.float64)
    vectors = shared + torch.randn(count, width, generator=draw, dtype=torch.float64)
    return vectors @ vectors.T


@pytest.mark.parametrize("steps", [1, 2])
def test_p_values_of_random_labelings_are_uniform(steps) -> None:
    count = 32
    gram = random_gram(count)
    draw = torch.Generator().manual_seed(1)
    found = {"pp": [], "contrast": []}
    for number in range(200):
        labels, episodes = [0] * count, [0] * count
        for first in (0, count // 2):
            blocks = count // 2 // steps
            order = torch.randperm(blocks, generator=draw).tolist()
            for place in range(count // 2):
                labels[first + place] = int(order[place // steps] < blocks // 2)
                episodes[first + place] = (first + place) // steps
        domains = ["in"] * (count // 2) + ["out"] * (count // 2)
        samples = make_samples(labels, domains, episodes)
        null = measure_cosines(gram, choose_populations(samples), number, 199).null
        for name, values in found.items():
            values.append(null[name].p_value)
    for values in found.values():
        assert stats.kstest(values, "uniform").pvalue > 0.01


def four_populations(per_population, **kwargs):
    labels = [1, 0, 1, 0] * per_population
    domains = ["in", "in", "out", "out"] * per_population
    return make_samples(labels, domains, **kwargs)


def test_noise_is_taken_out_of_the_cosine_and_true_coupling_stays() -> None:
    """Means of few noisy samples hardly agree; without the noise they agree wholly."""
    samples = four_populations(6)
    populations = choose_populations(samples)
    plain, corrected = [], []
    for seed in range(60):
        draw = torch.Generator().manual_seed(seed)
        shared = torch.randn(400, generator=draw, dtype=torch.float64) * 0.5
        vectors = shared + torch.randn(24, 400, generator=draw, dtype=torch.float64)
        found = measure_cosines(vectors @ vectors.T, populations, draws=100)
        plain.append(found.cosine["pp"])
        corrected.append(found.corrected["pp"])
    expected = 0.25 / (0.25 + 1 / 6)
    assert sum(plain) / 60 == pytest.approx(expected, abs=0.02)
    assert sum(corrected) / 60 == pytest.approx(1, abs=0.03)


def test_split_half_agrees_with_the_reliability_of_the_mean() -> None:
    samples = four_populations(8)
    populations = choose_populations(samples)
    found = []
    for seed in range(40):
        draw = torch.Generator().manual_seed(seed)
        shared = torch.randn(400, generator=draw, dtype=torch.float64) * 0.5
        vectors = shared + torch.randn(32, 400, generator=draw, dtype=torch.float64)
        found.append(
            measure_cosines(vectors @ vectors.T, populations, draws=100).split_half["in_pos"]
        )
    # The share of a mean's square that is no noise: 1/4 of 1/4 + 1/8.
    assert sum(found) / 40 == pytest.approx(0.25 / (0.25 + 1 / 8), abs=0.03)


def test_halves_are_of_episodes_so_that_an_episode_does_not_vouch_for_itself() -> None:
    """Steps of an episode are alike, episodes are not: the mean cannot be relied on."""
    draw = torch.Generator().manual_seed(0)
    episodes = [number // 4 // 5 * 4 + number % 4 for number in range(80)]
    own = torch.randn(80, 60, generator=draw, dtype=torch.float64)[episodes]
    vectors = own + 0.1 * torch.randn(80, 60, generator=draw, dtype=torch.float64)
    samples = four_populations(20, episodes=episodes)
    found = measure_cosines(vectors @ vectors.T, choose_populations(samples))
    assert found.split_half["in_pos"] < 0.5
    assert any(flag.startswith("in_pos: the mean gradient is mostly noise") for flag in found.flags)
    alone = measure_cosines(vectors @ vectors.T, choose_populations(four_populations(20)))
    assert alone.split_half["in_pos"] > 0.8
    low, high = found.interval["pp"]
    assert high - low > 1.4 * (alone.interval["pp"][1] - alone.interval["pp"][0])


def test_a_population_of_one_episode_has_no_reliability() -> None:
    samples = four_populations(3, episodes=["e"] * 12)
    found = measure_cosines(random_gram(12), choose_populations(samples))
    assert math.isnan(found.split_half["pp"])
    assert math.isnan(found.interval["pp"][0])


def test_classes_that_differ_are_told_apart() -> None:
    samples = four_populations(8)
    draw = torch.Generator().manual_seed(0)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0] * 8, dtype=torch.float64)[:, None]
    vectors = sign + 0.5 * torch.randn(32, 30, generator=draw, dtype=torch.float64)
    found = measure_cosines(vectors @ vectors.T, choose_populations(samples))
    assert found.null["contrast"].p_value < 0.01
    assert found.cosine["pp"] > 0.8
    assert found.cosine["pn"] < -0.8


def test_gradients_are_weighed() -> None:
    samples = four_populations(1, advantages=[2.0, 1.0, -1.0, 0.5])
    gram = random_gram(4)
    assert torch.equal(weigh(gram, samples), gram)
    by_sample = weigh(gram, samples, "samples", by_advantage=True)
    # Responses have 1, 2, 3 and 1 tokens.
    assert float(by_sample[0, 2]) == pytest.approx(float(gram[0, 2]) * 2 * -1 / 3)
    assert torch.allclose(weigh(gram, samples, "unit").diag(), torch.ones(4).double())


def test_which_samples_are_used_does_not_depend_on_the_others() -> None:
    samples = make_samples([1] * 9 + [0] * 3 + [1, 0] * 4, ["in"] * 12 + ["out"] * 8)
    chosen = choose_populations(samples)
    assert chosen.n == 3
    assert len(chosen.used) == 12
    assert set(chosen.indices["in_neg"].tolist()) == {9, 10, 11}
    assert choose_populations(samples).used == chosen.used
    assert choose_populations(samples, seed=1).used != chosen.used


def test_two_samples_of_a_population_are_needed() -> None:
    with pytest.raises(UserError, match="at least 2 samples of each class"):
        choose_populations(four_populations(1))
