from dataclasses import replace

import nthr_oracle as oracle
import pytest
import torch
from builders import make_episode, make_step
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_model

from declutch.config.algorithm import GRPOConfig, NTHRConfig
from declutch.credit.grpo import grpo
from declutch.credit.nthr import BLOCK_TOKENS, nthr, score_tokens
from declutch.credit.table import build_table
from declutch.records import Outcome, Probes

V, D = 24, 16
SAMPLE = st.tuples(
    st.sampled_from("ab"), st.lists(st.integers(0, V - 1), max_size=4), st.booleans()
)
PLAN = st.lists(
    st.tuples(st.integers(0, 1), st.booleans(), st.lists(SAMPLE, min_size=1, max_size=3)),
    min_size=1,
    max_size=7,
)
CONFIG = st.builds(
    NTHRConfig,
    beta=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    std_norm=st.booleans(),
    match=st.sampled_from(["anchor", "position"]),
    group_stats=st.sampled_from(["episodes", "steps"]),
)


def play(group, is_won, samples):
    """An episode; a sample is (observation, response, whether its actions are masked)."""
    steps = [
        make_step(
            reward=float(is_won and index == len(samples) - 1),
            observation=seen,
            prompt=(1, 2 + index, ord(seen) % V),
            response=response,
            allowed=tuple(tuple({token, 5, 7}) for token in response) if is_masked else (),
        )
        for index, (seen, response, is_masked) in enumerate(samples)
    ]
    outcome = Outcome.WON if is_won else Outcome.FAILED
    return make_episode(group, [], outcome, steps)


def random_probes(table):
    """Probes of independent random tokens, in double precision."""
    draw = torch.Generator().manual_seed(0)
    count = int(table.num_tokens.sum())
    return Probes(
        token_ids=torch.randint(0, V, (count,), generator=draw),
        hidden=torch.randn(count, D, generator=draw, dtype=torch.float64),
        readout=torch.randn(V, D, generator=draw, dtype=torch.float64),
    )


def plain(table, config):
    """GRPO's advantage of every token."""
    base = GRPOConfig(std_norm=config.std_norm, group_stats=config.group_stats)
    return grpo(table, None, base).repeat_interleave(table.num_tokens)


def test_three_tokens_by_hand():
    # One hidden dimension, uniform policy over two tokens: e is (1/2, -1/2) for token 0 and the
    # negative of it for token 1, products of e are 1/2 and -1/2. Positive: token 0, h = 1, so its
    # score is 1/2, which is tau. Scores of the negatives: token 0 with h = 3: 3/2, spared; token 1
    # with h = 3: -3/2, not. Two samples, one positive: eta = 0.
    won = play(0, True, [("a", [0], False)])
    lost = play(0, False, [("a", [0, 1], False)])
    table, _ = build_table([won, lost])
    probes = Probes(
        token_ids=torch.tensor([0, 0, 1]),
        hidden=torch.tensor([[1.0], [3.0], [3.0]]),
        readout=torch.zeros(2, 1),
    )
    assert score_tokens(probes, torch.arange(3), torch.tensor([0])).tolist() == [0.5, 1.5, -1.5]
    found = nthr(table, probes, NTHRConfig(std_norm=False))
    assert found.tolist() == [0.5, 0.0, -0.5]
    # tau = 3/2 is reached, not exceeded.
    assert nthr(table, probes, NTHRConfig(std_norm=False, beta=3.0)).tolist() == [0.5, -0.5, -0.5]
    # Another lost sample: success rate 1/3, eta = 2 |1/2 - 1/3| = 1/3, advantages 2/3 and -1/3.
    table, _ = build_table([won, lost, play(0, False, [("b", [], False), ("a", [], False)])])
    found = nthr(table, probes, NTHRConfig(std_norm=False))
    assert found.tolist() == pytest.approx([2 / 3, -1 / 9, -1 / 3])


def test_a_failed_token_with_a_positive_advantage_is_left_alone():
    """Its episode failed with the larger return: what it scores spares it, and nothing shrinks."""
    won = make_episode(0, [], Outcome.WON, [make_step(reward=0.0, observation="a", response=[0])])
    lost = make_episode(
        0, [], Outcome.FAILED, [make_step(reward=1.0, observation="a", response=[0])]
    )
    table, _ = build_table([won, lost])
    probes = Probes(
        token_ids=torch.tensor([0, 0]), hidden=torch.ones(2, 1) * 3, readout=torch.zeros(2, 1)
    )
    config = NTHRConfig(std_norm=False, beta=0.5)
    assert nthr(table, probes, config).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": None}, "needs the probes `hidden` and `readout`"),
        ({"readout": None}, "needs the probes `hidden` and `readout`"),
        ({"hidden": torch.ones(2, 1)}, "2 hidden states and 1 token ids for 1 response tokens"),
        ({"token_ids": torch.zeros(3)}, "1 hidden states and 3 token ids for 1 response tokens"),
    ],
)
def test_probes_that_do_not_fit_are_refused(changes, message):
    table, _ = build_table([play(0, True, [("a", [0], False)])])
    probes = Probes(token_ids=torch.tensor([0]), hidden=torch.ones(1, 1), readout=torch.zeros(2, 1))
    with pytest.raises(ValueError, match=message):
        nthr(table, replace(probes, **changes), NTHRConfig())
    with pytest.raises(ValueError, match="needs the probes"):
        nthr(table, None, NTHRConfig())


def test_a_forced_token_has_score_zero():
    table, _ = build_table(
        [play(0, True, [("a", [3], False)]), play(0, False, [("a", [4], False)])]
    )
    probes = random_probes(table)
    probes = replace(probes, allowed=(None, (int(probes.token_ids[1]),)))
    first, second = score_tokens(probes, torch.arange(2), torch.tensor([0])).tolist()
    assert first > 0
    assert second == 0.0


MODEL = tiny_model("qwen2", V)


@given(PLAN, CONFIG, st.sampled_from([0.7, 1.0]))
def test_equals_double_loops_on_a_real_model(plan, config, temperature):
    table, steps = build_table([play(*each) for each in plan])
    if not int(table.num_tokens.sum()):
        return
    states = [oracle.token_states(MODEL, step, temperature) for step in steps]
    index = table.anchor if config.match == "anchor" else table.position
    expected = oracle.nthr(
        list(zip(table.group.tolist(), index.tolist(), strict=True)),
        table.is_won.tolist(),
        states,
        grpo(
            table, None, GRPOConfig(**config.model_dump(include={"std_norm", "group_stats"}))
        ).tolist(),
        config.beta,
    )
    found = nthr(table, oracle.make_probes(MODEL, steps, temperature), config)
    assert found.tolist() == pytest.approx([value for step in expected for value in step], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_equal_double_loops_on_a_real_model(dtype):
    model = tiny_model("qwen2", V).to(dtype)
    draw = torch.Generator().manual_seed(0)
    samples = [
        ("a", torch.randint(0, V, (9,), generator=draw).tolist(), n % 2 == 0) for n in range(6)
    ]
    _, steps = build_table([play(0, n < 3, [sample]) for n, sample in enumerate(samples)])
    states = [oracle.token_states(model, step, 0.8) for step in steps]
    expected = torch.tensor([s for each in states for s in oracle.score(each, states[:3])])
    probes = oracle.make_probes(model, steps, 0.8)
    assert probes.hidden.dtype == dtype
    found = score_tokens(probes, torch.arange(54), torch.arange(27))
    scale = float(expected.abs().mean())
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5 * scale)
    if dtype == torch.float64:
        assert found.tolist() == pytest.approx(expected.double().tolist(), rel=1e-6)


def test_blocks_of_tokens_change_nothing():
    count = BLOCK_TOKENS + 3
    won, lost = ([("a", [0] * count, False)] for _ in range(2))
    table, _ = build_table([play(0, True, won), play(0, False, lost)])
    probes = random_probes(table)
    everyone = torch.arange(2 * count)
    errors = -(probes.hidden @ probes.readout.T).softmax(-1)
    errors[everyone, probes.token_ids] += 1
    alike = (errors @ errors[:count].T) * (probes.hidden @ probes.hidden[:count].T)
    torch.testing.assert_close(score_tokens(probes, everyone, everyone[:count]), alike.sum(-1))


@pytest.mark.parametrize("wins", [(True, True), (False, False)])
def test_without_both_outcomes_it_is_grpo(wins):
    # The first episode is of another anchor and another group: it lends no contrast.
    others = [play(1, not wins[0], [("a", [1], False)]), play(0, not wins[0], [("b", [1], False)])]
    members = [play(0, is_won, [("a", [1, 2], False)]) for is_won in wins]
    table, _ = build_table(others + members)
    found = nthr(table, random_probes(table), NTHRConfig(beta=0.0))
    assert torch.equal(found, plain(table, NTHRConfig()))


def test_responses_without_tokens():
    table, _ = build_table([play(0, True, [("a", [], False)]), play(0, False, [("a", [1], False)])])
    assert torch.equal(
        nthr(table, random_probes(table), NTHRConfig()), plain(table, NTHRConfig())[:1]
    )
    table, _ = build_table([])
    assert nthr(table, random_probes(table), NTHRConfig()).shape == torch.Size([0])


def test_steps_are_matched_by_observation_or_by_index():
    # Same observation at different indices. Success rate 1/2 where they are matched: eta is 0.
    won = play(0, True, [("b", [1], False), ("a", [2], False)])
    lost = play(0, False, [("a", [2], False)])
    table, steps = build_table([won, lost])
    probes = oracle.make_probes(MODEL, steps, 1.0)
    alike = replace(
        probes, hidden=probes.hidden[:1].expand(3, -1), token_ids=torch.tensor([1, 2, 2])
    )
    by_anchor, by_position = (
        nthr(table, alike, NTHRConfig(match=match, beta=0.5, std_norm=False)).tolist()
        for match in ("anchor", "position")
    )
    assert by_anchor == [0.5, 0.5, 0.0]
    assert by_position == [0.5, 0.5, -0.5]


def with_probes(plan):
    """The plan's table and random probes of its tokens."""
    table, _ = build_table([play(*each) for each in plan])
    return table, random_probes(table)


@given(PLAN, CONFIG)
def test_only_negative_advantages_of_failed_steps_shrink(plan, config):
    table, probes = with_probes(plan)
    found, base = nthr(table, probes, config), plain(table, config)
    is_open = (base < 0) & ~table.is_won.repeat_interleave(table.num_tokens)
    assert torch.equal(found[~is_open], base[~is_open])
    assert (found[is_open] <= 0).all()
    assert (found[is_open] >= base[is_open]).all()


@given(PLAN, CONFIG)
def test_names_of_groups_do_not_matter(plan, config):
    # The order of groups, which is the tokens' order, stays.
    table, probes = with_probes(plan)
    renamed, _ = build_table([play(7 * group + 3, *rest) for group, *rest in plan])
    assert torch.equal(nthr(renamed, probes, config), nthr(table, probes, config))


@given(PLAN, CONFIG, st.sampled_from([0.5, 2.0, 8.0]))
def test_scaled_hidden_states_with_unscaled_logits_change_nothing(plan, config, scale):
    # Powers of two: scores and threshold scale exactly.
    table, probes = with_probes(plan)
    scaled = replace(probes, hidden=scale * probes.hidden, readout=probes.readout / scale)
    assert torch.equal(nthr(table, scaled, config), nthr(table, probes, config))


@given(PLAN, st.sampled_from([0.25, 4.0]))
def test_scaled_rewards_scale_plain_differences(plan, scale):
    table, probes = with_probes(plan)
    config = NTHRConfig(std_norm=False)
    scaled = replace(table, reward=scale * table.reward)
    found, expected = nthr(scaled, probes, config), scale * nthr(table, probes, config)
    torch.testing.assert_close(found, expected)


@given(PLAN, CONFIG)
def test_beta_zero_spares_every_token_of_positive_score(plan, config):
    table, probes = with_probes(plan)
    index = table.anchor if config.match == "anchor" else table.position
    key = torch.stack([table.group, index])  # [2, S]
    step = torch.arange(len(table)).repeat_interleave(table.num_tokens)
    found = nthr(table, probes, config.model_copy(update={"beta": 0.0}))
    base, is_won = plain(table, config), table.is_won[step]
    for place in (~is_won & (base < 0)).nonzero()[:, 0].tolist():
        is_matched = (key == key[:, step[place], None]).all(0)  # [S]
        positives = (is_matched[step] & is_won).nonzero()[:, 0]
        score = float(score_tokens(probes, torch.tensor([place]), positives))
        rate = float(table.is_won[is_matched].double().mean())
        factor = 2 * abs(0.5 - rate) if score > 0 else 1.0
        assert float(found[place]) == pytest.approx(factor * float(base[place]))


@pytest.mark.parametrize("field", ["hidden", "readout"])
def test_what_it_needs(field):
    table, _ = build_table([play(0, True, [("a", [1, 2], False)])])
    probes = random_probes(table)
    for missing in (None, replace(probes, **{field: None})):
        with pytest.raises(ValueError, match="needs the probes"):
            nthr(table, missing, NTHRConfig())
    with pytest.raises(ValueError, match="1 hidden states and 2 token ids for 2 response tokens"):
        nthr(table, replace(probes, hidden=probes.hidden[:1]), NTHRConfig())
