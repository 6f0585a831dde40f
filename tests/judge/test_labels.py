"""Labels from the rule and the oracle, and the choice of the steps to ask about."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from declutch.envs.scienceworld.wording import SCIENCE
from declutch.envs.wording import PLAIN, Wording
from declutch.judge.env import JudgeEnv, judge_plays
from declutch.judge.labels import label_stats, oracle_labels, rule_labels
from declutch.judge.questions import Question, select_steps, spread_steps
from declutch.judge.round import JudgeRound
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId, empty_float

NOTHING = "Nothing happens."


def make_step(
    observation: str, inventory: str = "", *, oracle: int | None = None, is_valid: bool = True
) -> Step:
    empty = empty_float()
    return Step(
        observation=observation,
        inventory=inventory,
        admissible=(),
        action=Action("a", "", "", is_valid, True),
        prompt_ids=empty.long(),
        response_ids=empty.long(),
        sample_logprobs=empty,
        reward=0.0,
        oracle_label=oracle,
    )


def make_episode(steps: list[Step], *, won: bool = False, group: int = 0) -> Episode:
    outcome = Outcome.WON if won else Outcome.TIMED_OUT
    task = TaskId("s", "train", group, f"t{group}")
    return Episode(task, group, Role.AGENT, tuple(steps), outcome, float(won))


def test_rule_marks_what_led_back_and_what_won() -> None:
    episode = make_episode([make_step(o) for o in "abacd"], won=True)
    # The first "a" comes back at the third step; "b" led back to it but never returns itself.
    assert rule_labels(episode, PLAIN) == (0, None, None, None, 1)


def test_rule_without_success_marks_no_good_step() -> None:
    assert rule_labels(make_episode([make_step(o) for o in "abc"]), PLAIN) == (None, None, None)


@pytest.mark.parametrize(
    ("wording", "other", "refusal"),
    [
        (PLAIN, SCIENCE, NOTHING),
        (SCIENCE, PLAIN, "No known action matches that input."),
        (Wording(refusals=("Eh?",)), PLAIN, "Eh?"),
    ],
)
def test_a_step_that_does_nothing_is_bad_and_its_recovery_is_not(
    wording: Wording, other: Wording, refusal: str
) -> None:
    steps = [make_step(text) for text in ("a", refusal, "b", refusal, "c")]
    episode = make_episode(steps, won=True)
    assert rule_labels(episode, wording) == (0, None, 0, None, 1)
    # The plain comparison condemns the recovery from the first slip instead of the slips.
    assert rule_labels(episode, wording, "raw") == (None, 0, None, None, 1)
    # What another suite says in this case is an observation like any other.
    assert rule_labels(episode, other) == (None, 0, None, None, 1)


def test_the_same_place_with_something_in_hand_is_another_state() -> None:
    episode = make_episode([make_step("a"), make_step("b"), make_step("a", "mug 1")])
    assert rule_labels(episode, PLAIN) == (None, None, None)
    assert rule_labels(episode, PLAIN, "raw") == (0, None, None)


def test_an_invalid_format_is_bad_whatever_the_oracle_said() -> None:
    steps = [make_step("a", oracle=1), make_step("b", oracle=1, is_valid=False), make_step("c")]
    assert oracle_labels(make_episode(steps)) == (1, 0, None)


def test_label_stats_by_hand() -> None:
    stats = label_stats([(0, 1, None, 0)], [(0, 1, 1, 1)])
    assert (stats.rule_good, stats.rule_bad) == (0.25, 0.5)
    assert (stats.oracle_good, stats.oracle_bad) == (0.75, 0.25)
    assert (stats.rule_precision_good, stats.rule_precision_bad) == (1.0, 0.5)
    assert label_stats([(None,)], [(0,)]).rule_precision_good is None


LABELS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=9)),
    max_size=8,
)


@given(LABELS, st.integers(1, 12), st.integers(0, 5))
def test_selection_is_balanced_labelled_and_without_repeats(
    data: list[tuple[int, list[int | None]]], count: int, seed: int
) -> None:
    episodes = [make_episode([make_step("x")] * len(marks), group=g) for g, marks in data]
    labels = [tuple(marks) for _, marks in data]
    chosen = select_steps(episodes, labels, count, torch.Generator().manual_seed(seed))
    assert len(set(chosen)) == len(chosen) <= count
    assert all(labels[e][p] == value for e, p, value in chosen)
    classes = Counter(value for *_, value in chosen)
    assert abs(classes[0] - classes[1]) <= 1
    available = Counter(mark for marks in labels for mark in marks)
    assert len(chosen) == min(count, 2 * min(available[0], available[1]))


def test_tasks_take_turns() -> None:
    # One long failure of task 0 must not crowd out task 1.
    episodes = [make_episode([make_step("x")] * 20, group=g) for g in (0, 1)]
    labels = [(0,) * 10 + (1,) * 10] * 2
    chosen = select_steps(episodes, labels, 8, torch.Generator().manual_seed(0))
    assert Counter(e for e, _, _ in chosen) == {0: 4, 1: 4}


@pytest.mark.parametrize("seed", range(3))
def test_selection_is_a_function_of_the_stream(seed: int) -> None:
    episodes = [make_episode([make_step("x")] * 6, group=g) for g in range(4)]
    labels = [(0, 1, 0, 1, None, 0)] * 4
    runs = [
        select_steps(episodes, labels, 6, torch.Generator().manual_seed(seed)) for _ in range(2)
    ]
    assert runs[0] == runs[1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=8), st.integers(1, 12))
def test_spread_steps_gives_every_task_its_turn(lengths: list[tuple[int, int]], count: int) -> None:
    episodes = [make_episode([make_step("x")] * n, group=g) for g, n in lengths]
    chosen = spread_steps(episodes, count, torch.Generator().manual_seed(0))
    assert len(set(chosen)) == len(chosen) == min(count, sum(n for _, n in lengths))
    assert chosen == sorted(chosen)
    assert all(p < len(episodes[e].steps) for e, p in chosen)
    taken = Counter(episodes[e].group for e, _ in chosen)
    room = Counter()
    for group, length in lengths:
        room[group] += length
    # No task is asked twice more than another that has steps left.
    for group, left in room.items():
        if taken[group] < left:
            assert max(taken.values()) <= taken[group] + 1


@pytest.mark.parametrize(
    ("truth", "answer", "reward"),
    [
        ("at desk 1 : nothing", "at desk 1 : nothing", 1.0),
        ("at desk 1 : nothing", "at desk 1 : pen 1", 0.0),
        ("at desk 1 : nothing", "", 0.0),
        ("", "", 0.0),
        ("1", "1", 1.0),
        ("1", "0", 0.0),
    ],
)
def test_only_the_right_answer_is_worth_something(truth: str, answer: str, reward: float) -> None:
    questions = [Question(0, 0, None, "never asked", "p"), Question(0, 1, None, truth, "q")]
    play = judge_plays(questions, 2)[2]
    assert play.group == 1
    env = JudgeEnv(questions)
    assert env.reset(play.task).text == "q"
    transition = env.step(answer)
    assert (transition.reward, transition.is_done) == (reward, True)


def test_a_value_heads_answers_are_its_side_of_one_half() -> None:
    questions = tuple(Question(0, p, label, str(label), "") for p, label in enumerate((1, 0, 1)))
    judged = JudgeRound(questions, (), (), (), None, scores=(0.5, 0.6, 0.4))
    assert [text for _, text in judged.answers()] == ["1", "1", "0"]
    assert [question.is_right(text) for question, text in judged.answers()] == [True, False, False]
