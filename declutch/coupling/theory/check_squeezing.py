"""The checks on RM's Theorem 3.2: three actions under softmax, and the squeezing effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from declutch.coupling.theory.advantage import Estimator, Floats, joint_advantages
from declutch.coupling.theory.findings import (
    ClaimList,
    Finding,
    Place,
    conclude,
    decide,
)
from declutch.coupling.theory.groups import credited, draw_groups
from declutch.coupling.theory.three_actions import (
    Scene,
    corrected_condition,
    draw_scenes,
    first_order,
    follow,
    gap_condition,
    make_scene,
    printed_condition,
    scene_of,
    softmax,
    step,
)

INCREASE = Place("RM-T3.2-increase", "Theorem 3.2, first condition")
GAP = Place("RM-T3.2-gap", "Theorem 3.2, second condition")
IMPOSSIBLE = Place("RM-T3.2-impossible", "Theorem 3.2, end")
VANISH = Place("RM-T3.2-vanish", "section 3.1, after Theorem 3.2")
MORE = Place("RM-T3.2-more-actions", "section 3.1, after Theorem 3.2")
HARM = Place("RM-3.1-greater-harm", "section 3.1, before Theorem 3.2")
ENCOURAGED = Place("RM-A.2-encouraged", "A.2, after eq. 14")
REQUIRES = (
    "The probability of the flawed action 1 increases only where "
    "(2 q^ - 1) q^ r^ + 2 (q^ + q - 1) q r >= 0."
)
GAP_TEXT = (
    "The gap between actions 1 and 3 grows in favour of 1 only where "
    "(2 - 2q - q^) q r + q^ r^ <= 0."
)
NUM_SCENES = 40_000
claims = ClaimList()
"""The claims of the squeezing effect that this module's checks are of."""


def _scenes(seed: int) -> Scene:
    return draw_scenes(NUM_SCENES, np.random.default_rng(seed))


def _columns(scene: Scene) -> dict[str, Floats]:
    failure = scene.failure
    return {
        "q": scene.q,
        "r": scene.r,
        "q_hat": scene.q_hat,
        "r_hat": scene.r_hat,
        "p": scene.p,
        "failure_1": failure[..., 0],
        "failure_2": failure[..., 1],
        "failure_3": failure[..., 2],
    }


def change_of(scene: Scene, step_size: float) -> Floats:
    """Check's exact change of the three actions' probabilities by one softmax step, [..., 3]."""
    logits = np.log(scene.policy)
    return softmax(step(logits, scene.failure, step_size)) - scene.policy


def _example(scene: Scene, step_size: float) -> dict[str, float]:
    change = change_of(scene, step_size)
    return scene.as_numbers() | {
        "step_size": step_size,
        "change_1": float(change[0]),
        "change_2": float(change[1]),
        "change_3": float(change[2]),
        "first_order_1": float(first_order(scene.policy, scene.failure)[0]),
        "printed_condition": float(printed_condition(scene)),
        "corrected_condition": float(corrected_condition(scene)),
        "gap_condition": float(gap_condition(scene)),
    }


def _increase_finding(
    scene: Scene, is_increase: NDArray[np.bool_], condition: Floats, example: dict[str, float]
) -> Finding:
    """A condition is required where every scene that meets the conclusion meets it."""
    is_true = ~is_increase | (condition >= 0)
    numbers = example | {"grid_increases": int(is_increase.sum())}
    columns = _columns(scene) | {"condition": condition}
    badness = np.where(is_true, -np.inf, -condition)
    return conclude(is_true, numbers, columns, badness=badness)


@claims.add(
    INCREASE,
    REQUIRES,
    "Infinitesimal steps: the first-order change of the probability is positive. The proof has "
    "2 q q^ r^ where 2 q q^ r follows (see RM-A.2-eq13).",
    "first-order",
)
def check_first_order(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.45,
    r_hat: float = 0.3,
    p: float = 0.6,
    seed: int = 10,
) -> Finding:
    scene = _scenes(seed)
    rises = first_order(scene.policy, scene.failure)[:, 0] > 0
    example = _example(make_scene(q, r, q_hat, r_hat, p), 1e-3)
    return _increase_finding(scene, rises, printed_condition(scene), example)


@claims.add(
    INCREASE,
    REQUIRES,
    "One exact softmax step of size 1.",
    "exact-step",
)
def check_exact_step(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.45,
    r_hat: float = 0.3,
    p: float = 0.6,
    step_size: float = 1.0,
    seed: int = 11,
) -> Finding:
    scene = _scenes(seed)
    rises = change_of(scene, step_size)[:, 0] > 0
    example = _example(make_scene(q, r, q_hat, r_hat, p), step_size)
    return _increase_finding(scene, rises, printed_condition(scene), example)


@claims.add(
    INCREASE,
    "The probability of action 1 increases wherever (2 q^ - 1) q^ r^ + 2 (q^ + q - 1) q r >= 0.",
    "The printed condition as a sufficient one, which is what the direction of the proof's "
    "inequality would give. Infinitesimal steps.",
    "sufficient",
)
def check_sufficient(
    q: float = 0.6,
    r: float = 0.5,
    q_hat: float = 0.38,
    r_hat: float = 0.01,
    p: float = 0.4,
    seed: int = 12,
) -> Finding:
    scene = _scenes(seed)
    rises = first_order(scene.policy, scene.failure)[:, 0]
    printed = printed_condition(scene)
    is_true = (printed < 0) | (rises > 0)
    columns = _columns(scene) | {"printed_condition": printed, "first_order_1": rises}
    badness = np.where(is_true, -np.inf, -rises)
    return conclude(
        is_true, _example(make_scene(q, r, q_hat, r_hat, p), 0.001), columns, badness=badness
    )


@claims.add(
    INCREASE,
    "The probability of action 1 increases only where "
    "(2 q^ + q - 1) q^ r^ > 2 q r ((1-q)^2 - q^ (1-q) + q^2^).",
    "The same derivation with A2 - A3 put right. By exp(x) - 1 >= x it is required for every step "
    "size, and for infinitesimal steps it is sufficient, too.",
    "corrected",
)
def check_corrected(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.45,
    r_hat: float = 0.3,
    p: float = 0.6,
    step_size: float = 1.0,
    seed: int = 13,
) -> Finding:
    scene = _scenes(seed)
    corrected = corrected_condition(scene)
    is_true = (first_order(scene.policy, scene.failure)[:, 0] > 0) == (corrected > 0)
    # Next to the border a sign is a matter of rounding.
    is_true |= np.abs(corrected) < 1e-13
    for size in (0.01, step_size, 10.0):
        is_true &= (change_of(scene, size)[:, 0] <= 1e-15) | (corrected > -1e-13)
    example = _example(make_scene(q, r, q_hat, r_hat, p), step_size)
    columns = _columns(scene) | {"corrected_condition": corrected}
    return conclude(is_true, example, columns)


@claims.add(
    ENCOURAGED,
    "In some cases the probability of an action with a negative effect increases, because a worse "
    "one is punished more.",
    "There is such a scene: r > 0 and a positive change by one exact step. In simulated groups of "
    "8 by GRPO the mean first-order change is positive, too.",
    "exists",
)
def check_encouraged(
    q: float = 0.1,
    r: float = 0.05,
    q_hat: float = 0.7,
    r_hat: float = 0.1,
    p: float = 0.5,
    groups: int = 20_000,
    seed: int = 14,
) -> Finding:
    scene = make_scene(q, r, q_hat, r_hat, p)
    estimator = Estimator(8, std_norm=True)
    drawn = draw_groups(scene.policy, scene.failure, 8, groups, np.random.default_rng(seed))
    advantage = credited(drawn, estimator)
    sums = np.stack([np.where(drawn.action == i, advantage, 0).mean(1) for i in range(3)], -1)
    rates = sums[:, 0] - sums @ scene.policy
    pull = joint_advantages(scene.policy, scene.failure, estimator)
    numbers = _example(scene, 1.0) | {
        "advantage_1": float(pull[0]),
        "relative_change_grpo": float(pull[0] - scene.policy @ pull),
        "simulated": float(rates.mean()),
        "simulated_error": float(rates.std(ddof=1) / np.sqrt(groups)),
    }
    drawn_scenes = _scenes(seed)
    rises = change_of(drawn_scenes, 1.0)[:, 0] > 0
    numbers["grid_cases"] = len(rises)
    numbers["grid_increases"] = int(rises.sum())
    return Finding(decide([rises.any()]), numbers)


@claims.add(
    GAP,
    GAP_TEXT,
    "Gap: log-odds of action 1 against action 3. Any step size, since logits move by C times the "
    "advantage.",
    "log-odds",
)
def check_gap_log_odds(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.65,
    r_hat: float = 0.03,
    p: float = 0.5,
    step_size: float = 1.0,
    seed: int = 15,
) -> Finding:
    scene = _scenes(seed)
    after = softmax(step(np.log(scene.policy), scene.failure, step_size))
    growth = np.log(after[:, 0] / after[:, 2]) - np.log(scene.policy[:, 0] / scene.policy[:, 2])
    condition = gap_condition(scene)
    is_true = (growth <= 1e-13) | (condition <= 0)
    one = make_scene(q, r, q_hat, r_hat, p)
    pulls = joint_advantages(one.policy, one.failure)
    numbers = _example(one, step_size) | {"log_odds_growth_per_step": float(pulls[0] - pulls[2])}
    return conclude(is_true, numbers, _columns(scene) | {"growth": growth})


@claims.add(
    GAP,
    GAP_TEXT,
    "Gap: difference of the probabilities p1 - p3, as the text says. One exact step of size 0.1. "
    "It can grow where p1 > p3, because both lose to or gain from action 2 in proportion.",
    "probabilities",
)
def check_gap_probabilities(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.65,
    r_hat: float = 0.03,
    p: float = 0.5,
    step_size: float = 0.1,
    seed: int = 16,
) -> Finding:
    scene = _scenes(seed)
    change = change_of(scene, step_size)
    growth = change[:, 0] - change[:, 2]
    is_true = (growth <= 1e-15) | (gap_condition(scene) <= 0)
    meets = (scene.q <= scene.policy[:, 2]) & (change[:, 2] >= 0)
    one = make_scene(q, r, q_hat, r_hat, p)
    own = change_of(one, step_size)
    numbers = _example(one, step_size) | {"gap_change": float(own[0] - own[2])}
    columns = _columns(scene) | {"gap_change": growth}
    return conclude(
        is_true,
        numbers,
        columns,
        badness=np.where(is_true, -np.inf, growth),
        meets=meets,
        condition="p1 <= p3 and p3 does not fall itself",
    )


@claims.add(
    IMPOSSIBLE,
    "(2 - 2q - q^) q r + q^ r^ <= 0 cannot be satisfied for r, r^ > 0.",
    "All probabilities q, q^ > 0 with q + q^ < 1.",
    "positive-risks",
)
def check_impossible(
    q: float = 0.3, r: float = 0.01, q_hat: float = 0.65, r_hat: float = 0.03, seed: int = 17
) -> Finding:
    scene = _scenes(seed)
    condition = gap_condition(scene)
    is_true = condition > 0
    own = float((2 - 2 * q - q_hat) * q * r + q_hat * r_hat)
    numbers = {"q": q, "r": r, "q_hat": q_hat, "r_hat": r_hat, "condition": own}
    numbers["grid_smallest"] = float(condition.min())
    return conclude(is_true, numbers, _columns(scene))


@claims.add(
    HARM,
    "An action of greater harm (higher risk) loses more probability.",
    "Of two flawed actions with r < r^ in one scene, the second loses the larger share of its "
    "probability, to first order. The pull is the risk times the probability, so a rare action is "
    "punished little however harmful it is.",
    "relative",
)
def check_harm(
    q: float = 0.6,
    r: float = 0.1,
    q_hat: float = 0.02,
    r_hat: float = 0.4,
    p: float = 0.3,
    seed: int = 18,
) -> Finding:
    scene = _scenes(seed)
    rates = first_order(scene.policy, scene.failure)
    is_worse = scene.r_hat > scene.r
    is_true = ~is_worse | (rates[:, 1] < rates[:, 0])
    meets = scene.q_hat >= scene.q
    one = make_scene(q, r, q_hat, r_hat, p)
    own = first_order(one.policy, one.failure)
    numbers = one.as_numbers() | {
        "relative_change_1": float(own[0]),
        "relative_change_2": float(own[1]),
    }
    columns = _columns(scene) | {"relative_change_1": rates[:, 0], "relative_change_2": rates[:, 1]}
    badness = np.where(is_true, -np.inf, rates[:, 1] - rates[:, 0])
    return conclude(
        is_true,
        numbers,
        columns,
        badness=badness,
        meets=meets,
        condition="q^ >= q (the more harmful action is at least as likely)",
    )


VANISH_TEXT = (
    "The probability mass goes more and more to the good action, and the bad actions vanish."
)


@claims.add(
    VANISH,
    VANISH_TEXT,
    "In the limit of many exact steps of size 0.4, fixed failure rates, action 3 the best. This is "
    "gradient ascent on the success rate, which climbs at every such step, while the probability "
    "left to actions 1 and 2 falls below 0.1 within the steps and goes on falling.",
    "limit",
)
def check_limit(
    q: float = 0.3,
    r: float = 0.2,
    q_hat: float = 0.65,
    r_hat: float = 0.03,
    p: float = 0.5,
    num_steps: int = 10_000,
    seed: int = 19,
) -> Finding:
    draw = np.random.default_rng(seed)
    policy = draw.dirichlet(np.full(3, 2.0), 300)
    failure = np.sort(draw.random((300, 3)), -1)[:, ::-1]
    has_gap = (failure[:, 1] - failure[:, 2] > 0.1) & (policy[:, 2] > 0.05)
    policy, failure = policy[has_gap], failure[has_gap]
    logits = np.log(policy)
    climbs = np.ones(len(policy), bool)
    before = (policy * failure).sum(-1)
    halfway = policy[:, 2]
    for index in range(num_steps):
        logits = step(logits, failure, 0.4)
        if index % 1000 == 0:
            mean = (softmax(logits) * failure).sum(-1)
            climbs &= mean <= before + 1e-15
            before = mean
        if index == num_steps // 2:
            halfway = softmax(logits)[:, 2]
    end = softmax(logits)[:, 2]
    is_true = climbs & (end > 0.9) & (end > halfway)
    one = make_scene(q, r, q_hat, r_hat, p)
    path = follow(one.policy, one.failure, 4000, 0.4)[:, 2]
    reached = np.flatnonzero(path > 0.99)
    numbers = one.as_numbers() | {
        "step_size": 0.4,
        "steps_until_99_percent": int(reached[0]) if len(reached) else None,
        "grid_smallest_end": float(end.min()),
    }
    columns = {
        "policy_1": policy[:, 0],
        "policy_2": policy[:, 1],
        "failure_1": failure[:, 0],
        "failure_2": failure[:, 1],
        "failure_3": failure[:, 2],
        "end": end,
    }
    return conclude(is_true, numbers, columns)


@claims.add(
    VANISH,
    VANISH_TEXT,
    "At every exact step of size 0.1: the probability of action 3 rises. It does not where action "
    "2 is only a little flawed and far more likely, since pulls are in proportion to "
    "probabilities.",
    "every-step",
)
def check_every_step(
    q: float = 0.3,
    r: float = 0.5,
    q_hat: float = 0.65,
    r_hat: float = 0.001,
    p: float = 0.3,
    step_size: float = 0.1,
    seed: int = 20,
) -> Finding:
    scene = _scenes(seed)
    change = change_of(scene, step_size)
    is_true = change[:, 2] > 0
    pulls = joint_advantages(scene.policy, scene.failure)
    meets = pulls[:, 2] >= pulls[:, 1]
    one = make_scene(q, r, q_hat, r_hat, p)
    columns = _columns(scene) | {"change_3": change[:, 2]}
    return conclude(
        is_true,
        _example(one, step_size),
        columns,
        badness=-change[:, 2],
        meets=meets,
        condition="A3 >= A2",
    )


@claims.add(
    VANISH,
    VANISH_TEXT,
    "Training on sampled groups of 8 by GRPO from a start where action 3 is rare: every run ends "
    "with action 3 likely. A group of large steps can lose it before it is sampled often enough.",
    "sampled-groups",
)
def check_sampled(
    q: float = 0.3,
    r: float = 0.3,
    q_hat: float = 0.65,
    r_hat: float = 0.02,
    p: float = 0.5,
    step_size: float = 4.0,
    small_step_size: float = 0.5,
    runs: int = 200,
    num_steps: int = 150,
    seed: int = 21,
) -> Finding:
    scene = make_scene(q, r, q_hat, r_hat, p)
    large = _train_sampled(scene, step_size, runs, num_steps, seed)
    scale = round(step_size / small_step_size)
    small = _train_sampled(scene, small_step_size, runs, num_steps * scale, seed)
    is_true = np.concatenate([large, small]) > 0.5
    meets = np.arange(2 * runs) >= runs
    share = float((large > 0.5).mean())
    numbers = scene.as_numbers() | {
        "group_size": 8,
        "step_size": step_size,
        "num_steps": num_steps,
        "runs": runs,
        "share_ending_at_3": share,
        "share_error": float(np.sqrt(share * (1 - share) / runs)),
        "small_step_size": small_step_size,
        "share_ending_at_3_small_steps": float((small > 0.5).mean()),
    }
    columns = {"run": np.arange(2 * runs) % runs, "end_3": np.concatenate([large, small])}
    return conclude(
        is_true,
        numbers,
        columns | {"step_size": np.where(meets, small_step_size, step_size)},
        meets=meets,
        condition="steps are small against a group's noise (here 0.5)",
    )


def _train_sampled(scene: Scene, step_size: float, runs: int, num_steps: int, seed: int) -> Floats:
    """Probability of action 3 at the end of runs on sampled groups of 8, credited by GRPO."""
    draw = np.random.default_rng(seed)
    logits = np.tile(np.log(scene.policy), (runs, 1))
    estimator = Estimator(8, std_norm=True)
    for _ in range(num_steps):
        policy = softmax(logits)
        drawn = draw_groups(policy, scene.failure, 8, runs, draw)
        advantage = credited(drawn, estimator)
        pulls = [np.where(drawn.action == i, advantage, 0).mean(1) for i in range(3)]
        logits = logits + step_size * np.stack(pulls, -1)
    return np.asarray(softmax(logits)[:, 2])


@claims.add(
    MORE,
    "The result extends to more actions if action 3 is taken for all the others together.",
    "Action 3 is a common bad action and a rare good one with the mean failure rate that the "
    "theorem asks for. Gap: log-odds of action 1 against all of them together, first order.",
    "mass-of-the-rest",
)
def check_more_actions(
    q: float = 0.02,
    q_hat: float = 0.02,
    common: float = 0.9,
    failure_1: float = 0.55,
    failure_2: float = 0.9,
    failure_common: float = 0.53,
    failure_good: float = 0.05,
    seed: int = 22,
) -> Finding:
    draw = np.random.default_rng(seed)
    policy = draw.dirichlet(np.full(4, 0.5), NUM_SCENES)
    failure = draw.random((NUM_SCENES, 4))
    own_policy = np.array([q, q_hat, common, 1 - q - q_hat - common])
    own_failure = np.array([failure_1, failure_2, failure_common, failure_good])

    def merged(policy: Floats, failure: Floats) -> tuple[Scene, Floats]:
        rest = policy[..., 2:].sum(-1)
        mean = (policy[..., 2:] * failure[..., 2:]).sum(-1) / rest
        scene = scene_of(
            np.stack([policy[..., 0], policy[..., 1], rest], -1),
            np.stack([failure[..., 0], failure[..., 1], mean], -1),
        )
        pulls = joint_advantages(policy, failure)
        growth = pulls[..., 0] - (policy[..., 2:] * pulls[..., 2:]).sum(-1) / rest
        return scene, growth

    scene, growth = merged(policy, failure)
    kept = scene.is_valid & (scene.r > 0) & (scene.r_hat > 0)
    scene, growth = scene.select(kept), growth[kept]
    is_true = (growth <= 0) | (gap_condition(scene) <= 0)
    one, own_growth = merged(own_policy, own_failure)
    numbers = {
        "q": q,
        "q_hat": q_hat,
        "common": common,
        "good": float(own_policy[3]),
        "failure_1": failure_1,
        "failure_2": failure_2,
        "failure_common": failure_common,
        "failure_good": failure_good,
        "r": float(one.r),
        "r_hat": float(one.r_hat),
        "log_odds_growth_per_step": float(own_growth),
        "gap_condition": float(gap_condition(one)),
    }
    columns = {f"policy_{i + 1}": policy[kept][:, i] for i in range(4)}
    columns |= {f"failure_{i + 1}": failure[kept][:, i] for i in range(4)}
    columns |= {"growth": growth}
    return conclude(is_true, numbers, columns, badness=growth)
