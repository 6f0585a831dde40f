"""Three actions under softmax against numerical derivatives and RM's formulas."""

import numpy as np
import pytest

from declutch.coupling.theory.three_actions import (
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

SCENE = make_scene(0.3, 0.01, 0.45, 0.3, 0.6)


def test_the_third_action_keeps_the_mean():
    np.testing.assert_allclose(SCENE.failure, [0.61, 0.9, 0.6 - 0.45 * 0.3 / 0.25])
    back = scene_of(SCENE.policy, SCENE.failure)
    for name in ("q", "r", "q_hat", "r_hat", "p"):
        assert getattr(back, name) == pytest.approx(getattr(SCENE, name), abs=1e-14)


def test_steps_follow_the_gradient_of_the_success_rate():
    logits = np.log(SCENE.policy)
    numeric = [
        -(softmax(logits + shift) - softmax(logits - shift)) @ SCENE.failure / 2e-6
        for shift in np.eye(3) * 1e-6
    ]
    np.testing.assert_allclose(step(logits, SCENE.failure, 1.0) - logits, numeric, atol=1e-9)


def test_first_order_is_the_limit_of_steps():
    after = follow(SCENE.policy, SCENE.failure, 1, 1e-6)[1]
    numeric = (after / SCENE.policy - 1) / 1e-6
    np.testing.assert_allclose(first_order(SCENE.policy, SCENE.failure), numeric, atol=1e-6)


def test_the_corrected_condition_is_the_first_order_change():
    # The relative change of action 1 is exactly the corrected condition.
    scenes = draw_scenes(2000, np.random.default_rng(0))
    np.testing.assert_allclose(
        first_order(scenes.policy, scenes.failure)[:, 0], corrected_condition(scenes), atol=1e-13
    )


def test_the_printed_condition_misses_a_rise():
    assert printed_condition(SCENE) == pytest.approx(-0.015)
    assert corrected_condition(SCENE) > 0
    assert follow(SCENE.policy, SCENE.failure, 1, 1.0)[1, 0] > 0.3
    assert gap_condition(SCENE) > 0


def test_what_is_no_scene_is_refused():
    with pytest.raises(ValueError, match="failure rates"):
        make_scene(0.3, 0.1, 0.6, 0.5, 0.2)
    with pytest.raises(ValueError, match="positive"):
        make_scene(0.3, 0.1, 0.7, 0.1, 0.5)
