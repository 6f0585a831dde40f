"""Augmentation: what is drawn, from what, and that nothing else of an environment changes."""

from __future__ import annotations

import random
from itertools import product

import pytest

from declutch.envs import augmentation as augmentation_module
from declutch.envs.augmentation import NUM_TASKS, Augmentation, AugmentedEnv, collect_excerpts
from declutch.envs.check import check_suite
from declutch.envs.excerpts import Excerpt, are_related, telling_words
from declutch.envs.protocol import Observation, Transition
from declutch.envs.wanderer import Whim
from declutch.ground.errors import Status
from declutch.records import TaskId

THINGS = ("vase", "book", "cup", "candle", "statue", "towel", "plate", "watch")


def excerpt(name: str) -> Excerpt:
    return Excerpt(f"You notice a {name}.", name, frozenset((name,)))


def augmentation(sentences: int = 3, probability: float = 0.5, names=THINGS) -> Augmentation:
    return Augmentation(tuple(excerpt(name) for name in names), sentences, probability)


class Rooms:
    """Walk through rooms to the last; in each lies a thing of its own."""

    name = "rooms"
    held_out_kinds: tuple[str, ...] = ("far",)

    def tasks(self, split):
        numbers = {"train": range(4), "L0": range(4, 6), "L1": range(6, 8), "L2": range(8, 10)}
        kind = "far" if split == "L2" else "near"
        return tuple(
            TaskId(self.name, split, index, f"{kind} {number}", kind)
            for index, number in enumerate(numbers.get(split, ()))
        )

    def make_env(self):
        return Rooms()

    def reset(self, task):
        self.at, self.goal = 0, THINGS[task.index % 4]
        return self.see(f"You begin {task.name}. Your task is to: find the {self.goal}.")

    def step(self, action):
        self.at += action == "go on"
        is_won = self.at == 3
        answers = {"go on": f"In room {self.at} lies a {THINGS[self.at]}.", "wait": "Time passes."}
        text = answers.get(action, "No.")
        return Transition(self.see(text), float(is_won), is_won, is_won, self.at / 3)

    def see(self, text):
        return Observation(text, ("go on", "wait"), "a towel" if self.at == 2 else "")

    def label_action(self, action):
        return int(action == "go on")

    def close(self):
        pass


def play(env, task, actions=("go on", "wait", "go on", "go on")) -> list:
    return [env.reset(task), *(env.step(action) for action in actions)]


def shown(moment) -> list[str]:
    seen = moment.observation if isinstance(moment, Transition) else moment
    return [each.short for each in seen.distractors]


def test_nothing_is_named_that_the_task_or_the_moment_names() -> None:
    drawn: set[str] = set()
    for seed, task in product(range(40), Rooms().tasks("train")):
        env = AugmentedEnv(Rooms(), augmentation(sentences=9), seed)
        moments = play(env, task)
        goal = THINGS[task.index]
        for at, moment in zip((0, 1, 1, 2, 3), moments, strict=True):
            here = {goal, *(["towel"] if at == 2 else [])}
            if moment is not moments[0] and at and moment.observation.text != "Time passes.":
                here.add(THINGS[at])
            # All that is allowed is shown, as there is room for more, and each once.
            assert sorted(shown(moment)) == sorted(set(THINGS) - here)
            drawn.update(shown(moment))
    assert drawn == set(THINGS)


def test_irrelevance_holds_for_texts_of_any_words() -> None:
    draw = random.Random(0)
    words = [a + b for a in ("", "un", "over") for b in (*THINGS, "cups", "vases", "statues")]
    for seed in range(300):
        names = draw.sample(words, 12)
        first = telling_words(" ".join(draw.sample(words, 4)))
        here = telling_words(" ".join(draw.sample(words, 4)))
        chosen = augmentation(5, names=names).choose(random.Random(seed), first, here)
        assert len(chosen) <= 5
        assert len({each.short for each in chosen}) == len(chosen)
        fits = [n for n in names if n not in here and not any(are_related(n, w) for w in first)]
        assert {each.short for each in chosen} <= set(fits)
        assert len(chosen) == min(5, len(fits))
        assert all(0 <= each.place < 1 for each in chosen)


def test_all_else_is_the_environments_own() -> None:
    task = Rooms().tasks("train")[1]
    env = AugmentedEnv(Rooms(), augmentation(), 3)
    for plain, rich in zip(play(Rooms(), task), play(env, task), strict=True):
        if isinstance(plain, Transition):
            assert (plain.reward, plain.is_won, plain.is_done, plain.score) == (
                rich.reward,
                rich.is_won,
                rich.is_done,
                rich.score,
            )
            plain, rich = plain.observation, rich.observation
        assert (plain.text, plain.admissible, plain.inventory) == (
            rich.text,
            rich.admissible,
            rich.inventory,
        )
        assert plain.distractors == ()
        assert len(rich.distractors) == 3
    assert env.label_action("go on") == 1
    assert env.label_action("wait") == 0
    assert not hasattr(env, "walkthrough")


def test_the_same_state_shows_the_same_and_another_seed_or_state_something_else() -> None:
    task = Rooms().tasks("train")[0]

    def seen(seed: int) -> list:
        moments = play(AugmentedEnv(Rooms(), augmentation(), seed), task, ("wait", "wait", "go on"))
        return [getattr(moment, "observation", moment).distractors for moment in moments]

    found = seen(1)
    assert found == seen(1)
    assert found[1] == found[2]
    assert len(set(found)) == 3
    assert seen(2) != found


def test_whether_a_group_has_distractors_is_a_function_of_seed_iteration_and_group() -> None:
    some = augmentation(probability=0.5)
    seeds = {key: some.seed_of(*key) for key in product((0, 1), range(20), range(20))}
    assert seeds == {key: some.seed_of(*key) for key in reversed(seeds)}
    given = [seed for seed in seeds.values() if seed is not None]
    assert len(set(given)) == len(given)
    # 800 fair draws: 400 give or take five standard deviations.
    assert 330 < len(given) < 470
    assert all(augmentation(probability=1.0).seed_of(0, 0, group) for group in range(50))
    # Which seed a group has does not depend on how many others have one.
    every = augmentation(probability=1.0)
    assert all(seed in (None, every.seed_of(*key)) for key, seed in seeds.items())


class AugmentedRooms(Rooms):
    """The same with distractors, as a suite."""

    def make_env(self):
        return AugmentedEnv(Rooms(), augmentation(), 5)


def test_an_environment_keeps_to_the_protocol_with_distractors() -> None:
    plain, rich = check_suite(Rooms()), check_suite(AugmentedRooms())
    assert [(each.name, each.status) for each in rich] == [
        (each.name, each.status) for each in plain
    ]
    assert not [each for each in rich if each.status is Status.PROBLEM], rich


class Watched(Rooms):
    """Notes which tasks are played, and breaks in one of them."""

    played: list[str]

    def make_env(self):
        env = Watched()
        env.played = self.played
        return env

    def reset(self, task):
        self.played.append(f"{task.split} {task.name}")
        return super().reset(task)

    def step(self, action):
        if self.at == 1 and self.goal == "cup":
            raise OSError("gone")
        return super().step(action)


def test_excerpts_are_of_training_tasks_and_the_same_each_time() -> None:
    suite = Watched()
    suite.played = []
    found = collect_excerpts(suite, "train", 0)
    assert sorted(suite.played) == [f"train near {number}" for number in range(4)]
    assert len(suite.played) <= NUM_TASKS
    rooms = {f"in room {at} lies a {THINGS[at]}" for at in (1, 2, 3)}
    assert {each.short for each in found} == {"time passes", *rooms}
    assert collect_excerpts(suite, "train", 0) == found
    texts = [each.text for each in found]
    assert len(set(texts)) == len(texts)


class Guide:
    """Goes on and on."""

    def reset(self, task, observation):
        pass

    def act(self):
        return Whim("go on")

    def update(self, action, observation):
        pass


class Guided(Watched):
    """A suite with a guide, whose environments are heavy."""

    max_live = 1

    def make_guide(self, seed):
        return Guide()


def test_a_guide_plays_in_the_place_of_chance_and_heavy_environments_play_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(augmentation_module, "NUM_HEAVY", 2)
    suite = Guided()
    suite.played = []
    found = collect_excerpts(suite, "train", 0)
    assert len(suite.played) == 2
    assert [each.short for each in found] == [
        f"in room {at} lies a {THINGS[at]}" for at in (1, 2, 3)
    ]
