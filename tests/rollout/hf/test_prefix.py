"""Prefix plans against exhaustive search."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.rollout.hf.prefix import PrefixPlan, plan_prefixes

PROMPT = st.lists(st.integers(0, 1), min_size=1, max_size=5).map(tuple)
PROMPTS = st.lists(PROMPT, min_size=1, max_size=5, unique=True)


def assemble(prompts: list[tuple[int, ...]], plan: PrefixPlan, index: int) -> tuple[int, ...]:
    """The tokens that the segments behind a prompt's own segment, and itself, compute."""
    segment, tokens = plan.own[index], ()
    while True:
        tokens = prompts[segment.prompt][segment.start : segment.stop] + tokens
        if segment.parent < 0:
            assert segment.start == 0
            assert segment.level == 0
            return tokens
        parent = plan.shared[segment.parent]
        assert parent.stop == segment.start
        assert parent.level == segment.level - 1
        segment = parent


def cheapest(prompts: list[tuple[int, ...]], overhead: int) -> int:
    """Least tokens and overheads over all sets of shared prefixes."""
    usable = {p[:n] for p in prompts for n in range(1, len(p))}
    best = sum(map(len, prompts))
    for size in range(1, min(len(usable), len(prompts)) + 1):
        for chosen in combinations(sorted(usable), size):
            cost = overhead * size
            for item in [*prompts, *chosen]:
                above = [len(c) for c in chosen if len(c) < len(item) and item[: len(c)] == c]
                cost += len(item) - max(above, default=0)
            best = min(best, cost)
    return best


@settings(deadline=None)
@given(PROMPTS, st.integers(0, 3))
def test_a_plan_computes_every_prompt_at_the_least_cost(prompts, overhead) -> None:
    plan = plan_prefixes(prompts, overhead)
    for index, prompt in enumerate(prompts):
        assert assemble(prompts, plan, index) == prompt
        assert plan.own[index].prompt == index
        assert plan.own[index].start < plan.own[index].stop
    assert plan.num_tokens + overhead * len(plan.shared) == cheapest(prompts, overhead)


def test_groups_share_their_heads_and_all_share_the_first_words() -> None:
    header = tuple(range(100))
    prompts = [(*header, *[200 + g] * 50, 300 + 8 * g + m) for g in range(4) for m in range(8)]
    plan = plan_prefixes(prompts, overhead=16)
    assert plan.num_tokens == 100 + 4 * 50 + 32
    assert sorted(s.level for s in plan.shared) == [0, 1, 1, 1, 1]


def test_what_does_not_pay_is_not_shared() -> None:
    prompts = [(1, 2, 3, 4), (1, 2, 3, 5)]
    assert plan_prefixes(prompts, overhead=3).shared == ()
    assert plan_prefixes(prompts, overhead=2).num_tokens == 5


def test_hundreds_of_nested_prompts_are_planned() -> None:
    prompts = [(0,) * n for n in range(1, 401)]
    plan = plan_prefixes(prompts, overhead=0)
    assert plan.num_tokens < 800
