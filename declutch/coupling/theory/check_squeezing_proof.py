"""The checks on RM's proof of Theorem 3.2 (A.2): the gradient, the advantages, and the algebra."""

from __future__ import annotations

import numpy as np

from declutch.coupling.theory.advantage import Estimator, Floats, joint_advantages
from declutch.coupling.theory.findings import (
    TOLERANCE,
    ClaimList,
    Finding,
    Place,
    conclude,
)
from declutch.coupling.theory.groups import credited, draw_groups
from declutch.coupling.theory.readout import Sentence, logit_step, readout_gradient
from declutch.coupling.theory.three_actions import (
    Scene,
    draw_scenes,
    gap_condition,
    make_scene,
    printed_condition,
    scene_of,
    softmax,
    step,
)

GRADIENT = Place("RM-A.2-eq8", "A.2, eq. 8")
LOGITS = Place("RM-A.2-eq10", "A.2, eq. 10")
THIRD = Place("RM-A.2-third-risk", "A.2, after eq. 10")
ADVANTAGES = Place("RM-A.2-advantages", "A.2, the three A_i")
SOFTMAX = Place("RM-A.2-softmax", "A.2, p_1^(t+1)")
SIGN = Place("RM-A.2-eq11", "A.2, before and in eq. 11")
BOUND = Place("RM-A.2-eq12", "A.2, eq. 12")
DIFFERENCES = Place("RM-A.2-eq13", "A.2, before eq. 13")
COLLECTED = Place("RM-A.2-eq13-sum", "A.2, eq. 13")
STATEMENT = Place("RM-A.2-eq14", "A.2, eq. 14")
AFTER = Place("RM-A.2-eq14-growth", "A.2, after eq. 14")
GAP = Place("RM-A.2-eq16", "A.2, eq. 15 and 16")
SIMPLEX = Place("RM-A.2-simplex", "A.2, end")
claims = ClaimList()
"""The claims of the proof about squeezing that this module's checks are of."""


def _scenes(seed: int) -> Scene:
    return draw_scenes(20_000, np.random.default_rng(seed))


def _columns(scene: Scene) -> dict[str, Floats]:
    return {"q": scene.q, "r": scene.r, "q_hat": scene.q_hat, "r_hat": scene.r_hat, "p": scene.p}


def _printed_advantages(scene: Scene) -> Floats:
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    third = q_hat * r_hat / (q + q_hat - 1)
    return np.stack(
        [q * r * (q - 1), q_hat * (q * r - r_hat), (1 - q - q_hat) * (q * r - third)], -1
    )


@claims.add(
    GRADIENT,
    "A step on the cross-entropy of (x, y) moves the read-out by -eta pi(x) (p - e_y)^T.",
    "Against numerical derivatives of the log-likelihood in random read-outs, relative to the "
    "largest entry.",
    "derivative",
)
def check_gradient(width: int = 5, actions: int = 4, seed: int = 30) -> Finding:
    draw = np.random.default_rng(seed)
    errors = []
    for _ in range(50):
        readout, feature = draw.normal(size=(width, actions)), draw.normal(size=(1, width))
        sample = Sentence(feature, np.array([draw.integers(actions)]))
        exact = readout_gradient(readout, sample)
        numeric = np.zeros_like(readout)
        for place in np.ndindex(readout.shape):
            shift = np.zeros_like(readout)
            shift[place] = 1e-5
            up, down = (
                np.log(softmax(feature @ (readout + sign * shift))[0, sample.tokens[0]])
                for sign in (1, -1)
            )
            numeric[place] = (up - down) / 2e-5
        errors.append(np.abs(exact - numeric).max() / np.abs(exact).max())
    is_true = np.array(errors) < 1e-7
    numbers = {"width": width, "actions": actions, "grid_largest_relative_error": max(errors)}
    return conclude(is_true, numbers)


LOGIT_TEXT = (
    "A step on a group of n moves the logit of action i by eta |pi(x)|^2 n A^_i / std, with A^_i "
    "its expected advantage; the advantages of a group sum to 0."
)


@claims.add(
    LOGITS,
    LOGIT_TEXT,
    "n A^_i is the sum of the advantages of the episodes that took i (the joint reading). Exact in "
    "every simulated group of 8 by GRPO, not only on average.",
    "joint",
    by_rloo=False,
    is_conditional=False,
)
@claims.add(
    LOGITS,
    LOGIT_TEXT,
    "The same in groups of 8 by RLOO, whose advantages sum to 0, too.",
    "joint-leave-one-out",
    by_rloo=True,
    is_conditional=False,
)
@claims.add(
    LOGITS,
    LOGIT_TEXT,
    "A^_i is the mean advantage over the episodes that took i (the conditional reading).",
    "conditional",
    by_rloo=False,
    is_conditional=True,
)
def check_logits(
    *, step_size: float = 0.1, seed: int = 31, by_rloo: bool, is_conditional: bool
) -> Finding:
    size = 8
    estimator = Estimator(size, std_norm=not by_rloo, is_leave_one_out=by_rloo)
    draw = np.random.default_rng(seed)
    moves, claims_made = [], []
    for _ in range(200):
        policy, failure = draw.dirichlet(np.ones(4)), draw.random(4)
        feature = draw.normal(size=3)
        # A read-out whose logits for this state are those of the policy.
        readout = np.outer(feature, np.log(policy)) / (feature @ feature)
        drawn = draw_groups(policy, failure, size, 1, draw)
        advantage = credited(drawn, estimator)[0]
        action = drawn.action[0]
        moves.append(logit_step(readout, feature, action, advantage, step_size))
        totals = np.array([advantage[action == i].sum() for i in range(4)])
        if is_conditional:
            totals = size * totals / np.maximum([(action == i).sum() for i in range(4)], 1)
        claims_made.append(step_size * (feature @ feature) * totals)
    moved, claimed = np.array(moves), np.array(claims_made)
    error = np.abs(moved - claimed).max(-1)
    numbers = {
        "group_size": size,
        "learning_rate": step_size,
        "grid_largest_error": float(error.max()),
    }
    columns = {
        "group": np.arange(len(error)),
        "logit_move": moved[:, 0],
        "claimed_move": claimed[:, 0],
    }
    return conclude(error < 1e-6, numbers, columns, badness=error)


@claims.add(
    THIRD,
    "If p is the failure rate without action 1, the risk of action 3 is q^ r^ / (q + q^ - 1).",
    "The mean failure rate of actions 2 and 3 is p.",
    "mean",
)
def check_third(
    q: float = 0.3, r: float = 0.1, q_hat: float = 0.4, r_hat: float = 0.2, p: float = 0.5
) -> Finding:
    scene = _scenes(32)
    failure, policy = scene.failure, scene.policy
    mean = (policy[:, 1:] * failure[:, 1:]).sum(-1) / policy[:, 1:].sum(-1)
    is_true = np.abs(mean - scene.p) < TOLERANCE
    numbers = make_scene(q, r, q_hat, r_hat, p).as_numbers()
    return conclude(is_true, numbers, _columns(scene))


@claims.add(
    ADVANTAGES,
    "A_1 = q r (q-1), A_2 = q^ (q r - r^), A_3 = (1-q-q^) (q r - q^ r^ / (q+q^-1)).",
    "Joint expectations over infinitely large groups, no deviation; they sum to 0. In groups with "
    "a deviation all three have one common positive factor, the gain.",
    "joint",
)
def check_advantages(
    q: float = 0.3,
    r: float = 0.1,
    q_hat: float = 0.4,
    r_hat: float = 0.2,
    p: float = 0.5,
    groups: int = 20_000,
    seed: int = 33,
) -> Finding:
    scene = _scenes(seed)
    exact = joint_advantages(scene.policy, scene.failure)
    printed = _printed_advantages(scene)
    is_true = np.abs(exact - printed).max(-1) < TOLERANCE
    is_true &= np.abs(printed.sum(-1)) < TOLERANCE
    one = make_scene(q, r, q_hat, r_hat, p)
    drawn = draw_groups(one.policy, one.failure, 8, groups, np.random.default_rng(seed))
    advantage = credited(drawn, Estimator(8, is_leave_one_out=True))
    numbers = dict(one.as_numbers())
    for index, value in enumerate(joint_advantages(one.policy, one.failure)):
        sums = np.where(drawn.action == index, advantage, 0).mean(1)
        numbers |= {
            f"advantage_{index + 1}": float(value),
            f"simulated_{index + 1}": float(sums.mean()),
            f"simulated_error_{index + 1}": float(sums.std(ddof=1) / np.sqrt(groups)),
        }
    return conclude(is_true, numbers, _columns(scene))


@claims.add(
    SOFTMAX,
    "p_1 = exp(z_1) / exp(sum_j z_j).",
    "As printed on the left-hand sides.",
    "as-printed",
    is_printed=True,
)
@claims.add(
    SOFTMAX,
    "p_1 = exp(z_1) / sum_j exp(z_j).",
    "As it goes on on the right-hand sides.",
    "as-used",
    is_printed=False,
)
def check_softmax(
    *, z_1: float = 0.0, z_2: float = 1.0, z_3: float = -0.5, is_printed: bool
) -> Finding:
    def first(logits: Floats) -> Floats:
        below = np.exp(logits.sum(-1)) if is_printed else np.exp(logits).sum(-1)
        return np.asarray(np.exp(logits[..., 0]) / below)

    logits, example = np.random.default_rng(34).normal(size=(1000, 3)), np.array([z_1, z_2, z_3])
    claimed, exact = first(logits), softmax(logits)[:, 0]
    numbers = {
        "z_1": z_1,
        "z_2": z_2,
        "z_3": z_3,
        "claimed": float(first(example)),
        "exact": float(softmax(example)[0]),
    }
    columns = {f"z_{i + 1}": logits[:, i] for i in range(3)} | {"claimed": claimed, "exact": exact}
    return conclude(np.abs(claimed - exact) < TOLERANCE, numbers, columns)


def _shifted(scene: Scene, step_size: float) -> tuple[Floats, Floats]:
    """exp(z_j + C (A_j - A_1)) and exp(z_j) of actions 2 and 3, normalised to sum to 1 before."""
    pulls = joint_advantages(scene.policy, scene.failure)
    before = scene.policy[..., 1:]
    return before * np.exp(step_size * (pulls[..., 1:] - pulls[..., :1])), before


@claims.add(
    SIGN,
    "p_1 increases where exp(z_2 + C(A_2-A_1)) + exp(z_3 + C(A_3-A_1)) > exp(z_2) + exp(z_3).",
    "As printed. The ratio p_1' / p_1 has the shifted sum below, so the inequality is the wrong "
    "way round; the text later asks for a smaller sum.",
    "as-printed",
    is_printed=True,
)
@claims.add(
    SIGN,
    "p_1 increases where exp(z_2 + C(A_2-A_1)) + exp(z_3 + C(A_3-A_1)) < exp(z_2) + exp(z_3).",
    "As it is used from eq. 13 on.",
    "as-used",
    is_printed=False,
)
def check_direction(*, step_size: float = 1.0, seed: int = 35, is_printed: bool) -> Finding:
    scene = _scenes(seed)
    after, before = _shifted(scene, step_size)
    pulls = joint_advantages(scene.policy, scene.failure)
    moved = softmax(np.log(scene.policy) + step_size * pulls)[:, 0]
    rises = moved > scene.q
    difference = after.sum(-1) - before.sum(-1)
    claimed = difference > 0 if is_printed else difference < 0
    is_true = (rises == claimed) | (np.abs(difference) < 1e-14)
    columns = _columns(scene) | {"sum_after_less_before": difference, "change_1": moved - scene.q}
    return conclude(is_true, {"step_size": step_size}, columns)


@claims.add(
    SIGN,
    "exp(z_2 + C(A_2-A_1)) + exp(z_3 + C(A_3-A_1)) - exp(z_2) + exp(z_3) "
    "= (exp(C(A_2-A_1)) - 1) exp(z_2) + (exp(C(A_3-A_1)) - 1) exp(z_3).",
    "As printed, with + exp(z_3) and no parentheses.",
    "eq11-printed",
    is_printed=True,
)
@claims.add(
    SIGN,
    "exp(z_2 + C(A_2-A_1)) + exp(z_3 + C(A_3-A_1)) - exp(z_2) - exp(z_3) "
    "= (exp(C(A_2-A_1)) - 1) exp(z_2) + (exp(C(A_3-A_1)) - 1) exp(z_3).",
    "With - exp(z_3), as the right-hand side has it.",
    "eq11-meant",
    is_printed=False,
)
def check_eq11(*, step_size: float = 1.0, seed: int = 36, is_printed: bool) -> Finding:
    scene = _scenes(seed)
    after, before = _shifted(scene, step_size)
    third = before[:, 1] if is_printed else -before[:, 1]
    left = after.sum(-1) - before[:, 0] + third
    right = (after - before).sum(-1)
    columns = _columns(scene) | {"left": left, "right": right}
    return conclude(np.abs(left - right) < TOLERANCE, {"step_size": step_size}, columns)


@claims.add(
    BOUND,
    "exp(x) - 1 <= e x, with which the exponentials are bounded.",
    "Any x. It holds from 0 to about 1.75079, where exp(x) = 1 + e x; for x < 0 it is reversed.",
    "inequality",
)
def check_exponential(x: float = -0.5) -> Finding:
    from scipy.optimize import brentq

    upper = float(brentq(lambda v: np.exp(v) - 1 - np.e * v, 1.0, 3.0, xtol=1e-14))
    grid = np.linspace(-5, 5, 2001)
    # At x = 0 both sides are 0, which rounding may turn around.
    is_true = np.exp(grid) - 1 <= np.e * grid + 1e-13
    meets = (grid >= -1e-13) & (grid <= upper)
    numbers = {
        "x": x,
        "left": float(np.exp(x) - 1),
        "right": float(np.e * x),
        "upper_end": upper,
    }
    columns = {"x": grid, "left": np.exp(grid) - 1, "right": np.e * grid}
    return conclude(is_true, numbers, columns, meets=meets, condition="0 <= x <= 1.75079")


@claims.add(
    BOUND,
    "(exp(C(A_2-A_1)) - 1) q^ + (exp(C(A_3-A_1)) - 1)(1-q-q^) <= e C (q^ (A_2-A_3) + "
    "(q-1)(A_1-A_3)).",
    "The whole line with the exact advantages, steps of size 1. Where A_2 < A_1 the first term has "
    "a negative exponent.",
    "sum",
)
def check_bound(
    q: float = 0.3,
    r: float = 0.01,
    q_hat: float = 0.45,
    r_hat: float = 0.3,
    p: float = 0.6,
    step_size: float = 1.0,
    seed: int = 37,
) -> Finding:
    def sides(scene: Scene) -> tuple[Floats, Floats]:
        after, before = _shifted(scene, step_size)
        pulls = joint_advantages(scene.policy, scene.failure)
        bound = scene.q_hat * (pulls[..., 1] - pulls[..., 2])
        bound = bound + (scene.q - 1) * (pulls[..., 0] - pulls[..., 2])
        return (after - before).sum(-1), np.e * step_size * bound

    scene = _scenes(seed)
    left, right = sides(scene)
    is_true = left <= right + 1e-14
    pulls = joint_advantages(scene.policy, scene.failure)
    meets = pulls[:, 1] >= pulls[:, 0]
    one = make_scene(q, r, q_hat, r_hat, p)
    own_left, own_right = sides(one)
    numbers = one.as_numbers() | {
        "step_size": step_size,
        "left": float(own_left),
        "right": float(own_right),
    }
    columns = _columns(scene) | {"left": left, "right": right}
    return conclude(
        is_true, numbers, columns, badness=left - right, meets=meets, condition="A_2 >= A_1"
    )


def _difference_finding(
    printed: Floats, exact: Floats, scene: Scene, example: dict[str, float]
) -> Finding:
    is_true = np.abs(printed - exact) < TOLERANCE
    columns = _columns(scene) | {"printed": printed, "exact": exact}
    return conclude(is_true, example, columns, badness=np.abs(printed - exact))


def _second_less_third(scene: Scene, *, is_printed: bool) -> Floats:
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    first = 2 * q * q_hat * (r_hat if is_printed else r)
    return np.asarray(first + q**2 * r - q * r - 2 * q_hat * r_hat)


def _pull_difference(scene: Scene, first: int, second: int) -> Floats:
    pulls = joint_advantages(scene.policy, scene.failure)
    return np.asarray(pulls[..., first] - pulls[..., second])


def _difference_example(scene: Scene, printed: Floats, first: int, second: int) -> dict[str, float]:
    exact = _pull_difference(scene, first, second)
    return scene.as_numbers() | {"printed": float(printed), "exact": float(exact)}


@claims.add(
    DIFFERENCES,
    "A_2 - A_3 = 2 q q^ r^ + q^2 r - q r - 2 q^ r^.",
    "As printed.",
    "second-less-third-printed",
    is_printed=True,
)
@claims.add(
    DIFFERENCES,
    "A_2 - A_3 = 2 q q^ r + q^2 r - q r - 2 q^ r^.",
    "With r for r^ in the first term, as the line above it gives.",
    "second-less-third-corrected",
    is_printed=False,
)
def check_second_third(
    *,
    q: float = 0.3,
    r: float = 0.1,
    q_hat: float = 0.4,
    r_hat: float = 0.2,
    p: float = 0.5,
    is_printed: bool,
) -> Finding:
    scene, one = _scenes(38), make_scene(q, r, q_hat, r_hat, p)
    example = _difference_example(one, _second_less_third(one, is_printed=is_printed), 1, 2)
    exact = _pull_difference(scene, 1, 2)
    return _difference_finding(
        _second_less_third(scene, is_printed=is_printed), exact, scene, example
    )


def _first_less_third(scene: Scene) -> Floats:
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    return np.asarray(2 * q**2 * r - 2 * q * r + q * q_hat * r - q_hat * r_hat)


@claims.add(
    DIFFERENCES,
    "A_1 - A_3 = 2 q^2 r - 2 q r + q q^ r - q^ r^.",
    "The result that is used.",
    "first-less-third",
)
def check_first_third(
    q: float = 0.3, r: float = 0.1, q_hat: float = 0.4, r_hat: float = 0.2, p: float = 0.5
) -> Finding:
    scene, one = _scenes(39), make_scene(q, r, q_hat, r_hat, p)
    example = _difference_example(one, _first_less_third(one), 0, 2)
    return _difference_finding(
        _first_less_third(scene), _pull_difference(scene, 0, 2), scene, example
    )


@claims.add(
    DIFFERENCES,
    "A_1 - A_3 = q r (q-1) (q r - q^ r^ / (q+q^-1)).",
    "The line before the result as printed, a product where a difference is meant.",
    "first-less-third-line",
)
def check_first_third_line(
    q: float = 0.3, r: float = 0.1, q_hat: float = 0.4, r_hat: float = 0.2, p: float = 0.5
) -> Finding:
    def printed(scene: Scene) -> Floats:
        q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
        return np.asarray(q * r * (q - 1) * (q * r - q_hat * r_hat / (q + q_hat - 1)))

    scene, one = _scenes(39), make_scene(q, r, q_hat, r_hat, p)
    example = _difference_example(one, printed(one), 0, 2)
    return _difference_finding(printed(scene), _pull_difference(scene, 0, 2), scene, example)


def _collected(scene: Scene) -> Floats:
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    rest = 2 * q**3 * r - 4 * q**2 * r + 2 * q * r
    return (2 * q_hat**2 * r_hat + 2 * q_hat * q * r - q_hat * r_hat) * (q - 1) + rest


COLLECTED_TEXT = (
    "q^ (A_2-A_3) + (q-1)(A_1-A_3) = (2 q^2^ r^ + 2 q^ q r - q^ r^)(q-1) + 2q^3 r - 4q^2 r + 2qr."
)


@claims.add(
    COLLECTED,
    COLLECTED_TEXT,
    "From the printed A_2 - A_3: whether the collecting of terms is right in itself.",
    "from-printed",
    is_printed=True,
)
@claims.add(
    COLLECTED,
    COLLECTED_TEXT,
    "From the advantages themselves.",
    "from-advantages",
    is_printed=False,
)
def check_collected(
    *,
    q: float = 0.3,
    r: float = 0.1,
    q_hat: float = 0.4,
    r_hat: float = 0.2,
    p: float = 0.5,
    is_printed: bool,
) -> Finding:
    def left(scene: Scene) -> Floats:
        second, first = _pull_difference(scene, 1, 2), _pull_difference(scene, 0, 2)
        if is_printed:
            second, first = _second_less_third(scene, is_printed=True), _first_less_third(scene)
        return np.asarray(scene.q_hat * second + (scene.q - 1) * first)

    scene, one = _scenes(40), make_scene(q, r, q_hat, r_hat, p)
    example = one.as_numbers() | {"printed": float(_collected(one)), "exact": float(left(one))}
    return _difference_finding(_collected(scene), left(scene), scene, example)


@claims.add(
    STATEMENT,
    "The sum of eq. 13 is <= 0 exactly where 2 q^2^ r^ + 2 q^ q r - q^ r^ >= 2 q r (1-q), which is "
    "the theorem's (2 q^ - 1) q^ r^ + 2 (q^ + q - 1) q r >= 0.",
    "Both steps, 0 < q < 1.",
    "equivalence",
)
def check_statement(
    q: float = 0.3, r: float = 0.1, q_hat: float = 0.4, r_hat: float = 0.2, p: float = 0.5
) -> Finding:
    def three(scene: Scene) -> tuple[Floats, Floats, Floats]:
        q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
        middle = 2 * q_hat**2 * r_hat + 2 * q_hat * q * r - q_hat * r_hat - 2 * q * r * (1 - q)
        return -_collected(scene) / (1 - q), middle, printed_condition(scene)

    scene, one = _scenes(41), make_scene(q, r, q_hat, r_hat, p)
    first, second, third = three(scene)
    is_true = (np.abs(first - second) < 1e-10) & (np.abs(second - third) < TOLERANCE)
    numbers = one.as_numbers() | dict(
        zip(("from_eq13", "from_eq14", "theorem"), map(float, three(one)), strict=True)
    )
    return conclude(is_true, numbers, _columns(scene))


def _eq14_left(scene: Scene) -> Floats:
    q, r, q_hat, r_hat = scene.q, scene.r, scene.q_hat, scene.r_hat
    return np.asarray(2 * q_hat**2 * r_hat + 2 * q_hat * q * r - q_hat * r_hat)


GROWTH_TEXT = (
    "Once q increases, the left side of eq. 14 increases, and for q > 1/2 the right side 2 q r "
    "(1-q) decreases, so the condition goes on to be met."
)


@claims.add(
    AFTER,
    GROWTH_TEXT,
    "r, r^ and q^ stay as they are while q grows, as the text assumes of r.",
    "risks-fixed",
)
def check_growth_fixed(
    q: float = 0.55, r: float = 0.1, q_hat: float = 0.3, r_hat: float = 0.2, p: float = 0.7
) -> Finding:
    scene = _scenes(42)
    left_slope = 2 * scene.q_hat * scene.r
    right_slope = 2 * scene.r * (1 - 2 * scene.q)
    is_true = (left_slope > 0) & ((scene.q <= 0.5) | (right_slope < 0))
    numbers = make_scene(q, r, q_hat, r_hat, p).as_numbers() | {
        "left_slope": 2 * q_hat * r,
        "right_slope": 2 * r * (1 - 2 * q),
    }
    return conclude(is_true, numbers, _columns(scene))


@claims.add(
    AFTER,
    GROWTH_TEXT,
    "One exact step of size 0.1 with fixed failure rates, from a scene with q > 1/2 in which q "
    "rises: left less right does not fall. The other probability q^ falls, and p and r follow.",
    "failure-rates-fixed",
)
def check_growth_followed(
    q: float = 0.55,
    r: float = 0.002,
    q_hat: float = 0.4,
    r_hat: float = 0.05,
    p: float = 0.6,
    step_size: float = 0.1,
) -> Finding:
    def margin(scene: Scene) -> Floats:
        return _eq14_left(scene) - 2 * scene.q * scene.r * (1 - scene.q)

    def after(scene: Scene) -> Scene:
        moved = softmax(step(np.log(scene.policy), scene.failure, step_size))
        return scene_of(moved, scene.failure)

    drawn = draw_scenes(200_000, np.random.default_rng(43))
    drawn = drawn.select(drawn.q > 0.5)
    later = after(drawn)
    rises = later.q > drawn.q
    scene, later = drawn.select(rises), later.select(rises)
    growth = margin(later) - margin(scene)
    is_true = growth >= 0
    one = make_scene(q, r, q_hat, r_hat, p)
    own = after(one)
    numbers = one.as_numbers() | {
        "step_size": step_size,
        "q_after": float(own.q),
        "margin": float(margin(one)),
        "margin_after": float(margin(own)),
    }
    columns = _columns(scene) | {"margin_growth": growth}
    return conclude(is_true, numbers, columns, badness=-growth)


@claims.add(
    GAP,
    "The log-odds of action 3 over action 1 change with the sign of (2-2q-q^) q r + q^ r^.",
    "A_3 - A_1 is equal to it.",
    "identity",
)
def check_gap(
    q: float = 0.3, r: float = 0.1, q_hat: float = 0.4, r_hat: float = 0.2, p: float = 0.5
) -> Finding:
    scene, one = _scenes(44), make_scene(q, r, q_hat, r_hat, p)
    example = _difference_example(one, gap_condition(one), 2, 0)
    return _difference_finding(gap_condition(scene), _pull_difference(scene, 2, 0), scene, example)


@claims.add(
    SIMPLEX,
    "2 - 2q - q^ = (1 - q - q^) + (1 - q) >= 0.",
    "All probabilities with q + q^ <= 1.",
    "all",
)
def check_simplex(q: float = 0.3, q_hat: float = 0.4) -> Finding:
    first, second = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    inside = first + second <= 1
    first, second = first[inside], second[inside]
    value = 2 - 2 * first - second
    is_true = (np.abs(value - ((1 - first - second) + (1 - first))) < TOLERANCE) & (value >= 0)
    numbers = {"q": q, "q_hat": q_hat, "value": 2 - 2 * q - q_hat}
    return conclude(is_true, numbers, {"q": first, "q_hat": second})
