"""The comparison finds differences where there are some, and only there."""

import multiprocessing
from dataclasses import replace

import pytest
from forking import forking_context

from declutch.envs.alfworld import verify
from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.levels import KINDS, SPLITS
from declutch.envs.alfworld.match import VerifyReport
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.verify import draw_games, verify_games
from declutch.ground.errors import UserError


class FakeReference(AlfworldEnv):
    """Our own engine in the official one's place, spoilt by `spoil(step, transition)`."""

    spoil = staticmethod(lambda step, transition: transition)
    num_resets = 0

    def __init__(self, find_path):
        super().__init__(lambda task: load_world(find_path(task)))

    def reset(self, task):
        self.num_steps = 0
        FakeReference.num_resets += 1
        return super().reset(task)

    def step(self, action):
        self.num_steps += 1
        return type(self).spoil(self.num_steps, super().step(action))


@pytest.fixture
def paths(tmp_path, write_kitchen):
    """Six copies of the kitchen with a walkthrough that wins."""
    solution = ["go to countertop 1", "take apple 2 from countertop 1", "go to cabinet 1"]
    solution += ["open cabinet 2", "move apple 2 to cabinet 2"]
    content = write_kitchen(walkthrough=solution).read_bytes()
    copies = []
    for number in range(6):
        folder = tmp_path / "json" / "train" / "pick_and_place_simple-Apple-None-Cabinet-1"
        path = folder / f"trial_{number}" / "game.tw-pddl"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        copies.append(path)
    return copies


@pytest.fixture
def reference(monkeypatch):
    fake = type("Fake", (FakeReference,), {})
    monkeypatch.setattr(verify, "ReferenceEnv", fake)
    return fake


def test_equal_engines_do_not_differ(paths, reference):
    heard = []
    report = verify_games(paths, seed=3, num_steps=30, workers=0, on_progress=heard.append)
    assert report.difference is None
    assert report.num_games == 6
    assert report.games == {"train/pick_and_place_simple": 6}
    assert report.walks == {"expert": 3, "random": 3, "walkthrough": 2}
    assert report.num_steps >= 6 * 30 + 2 * 5
    assert report.num_won >= 2  # The walkthroughs at least.
    assert 0 < report.num_nonsense < report.num_steps / 2
    assert sum(report.executed.values()) <= report.num_steps - report.num_nonsense
    # Curiosity finds the rare actions within a few games of 30 steps.
    for verb in ("take", "move", "clean", "heat", "cool", "slice", "use", "open"):
        assert report.executed[verb] >= 1, verb
    assert [each.num_games for each in heard] == [1, 2, 3, 4, 5, 6]


def test_a_seed_fixes_every_walk(paths, reference):
    assert verify_games(paths, seed=3, workers=0) == verify_games(paths, seed=3, workers=0)
    assert (
        verify_games(paths, seed=3, workers=0).executed
        != verify_games(paths, seed=4, workers=0).executed
    )


def spoil_text(step, transition):
    observation = replace(transition.observation, text=transition.observation.text + " ")
    return replace(transition, observation=observation) if step == 7 else transition


def spoil_admissible(step, transition):
    observation = replace(transition.observation, admissible=("dance",))
    return replace(transition, observation=observation) if step == 7 else transition


def spoil_inventory(step, transition):
    observation = replace(transition.observation, inventory="pan 9")
    return replace(transition, observation=observation) if step == 7 else transition


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_text, "observation"),
        (spoil_admissible, "admissible"),
        (spoil_inventory, "inventory"),
        (lambda step, t: replace(t, is_won=True) if step == 7 else t, "is_won"),
        (lambda step, t: replace(t, is_done=True) if step == 7 else t, "is_done"),
        (lambda step, t: replace(t, score=0.5) if step == 7 else t, "score"),
    ],
)
def test_the_first_difference_stops_and_is_shown(paths, reference, spoil, what):
    reference.spoil = staticmethod(spoil)
    report = verify_games(paths, seed=3, workers=0)
    difference = report.difference
    assert report.num_games == 1
    assert difference is not None
    assert (difference.what, difference.step) == (what, 6)
    assert difference.game == paths[0]
    assert len(difference.history) == 7
    assert difference.history[-1] == difference.action
    assert difference.ours != difference.reference


def test_a_different_start_is_shown(paths, reference, monkeypatch):
    original = FakeReference.reset
    monkeypatch.setattr(
        reference, "reset", lambda self, task: replace(original(self, task), text="Hello.")
    )
    difference = verify_games(paths, seed=0, workers=0).difference
    assert difference is not None
    assert (difference.step, difference.reference) == (-1, "'Hello.'")


def test_a_walkthrough_that_does_not_win_is_a_difference(paths, reference, write_kitchen):
    paths[0].write_bytes(write_kitchen(walkthrough=["look"]).read_bytes())
    difference = verify_games(paths[:1], seed=0, workers=0).difference
    assert difference is not None
    assert difference.walk == "walkthrough"


def test_merged_reports_add_up():
    one = VerifyReport(1, 30, 4, 0, {"random": 1}, {"take": 2}, {"train/x": 1})
    two = VerifyReport(1, 35, 5, 1, {"expert": 1}, {"take": 1, "move": 1}, {"train/x": 1})
    both = one.merge(two)
    assert (both.num_games, both.num_steps, both.num_nonsense, both.num_won) == (2, 65, 9, 1)
    assert both.executed == {"take": 3, "move": 1}
    assert both.games == {"train/x": 2}


def test_games_are_drawn_from_all_splits_and_types(alfworld_data):
    suite = AlfworldSuite(alfworld_data)
    drawn = draw_games(suite, 36, seed=1)
    assert len(set(drawn)) == 36
    groups = [(path.parts[-4], path.parts[-3].partition("-")[0]) for path in drawn]
    assert {groups.count(each) for each in set(groups)} == {2}
    assert len(set(groups)) == len(SPLITS) * len(KINDS)
    assert drawn == draw_games(suite, 36, seed=1)
    assert drawn != draw_games(suite, 36, seed=2)


@pytest.fixture
def _forked(monkeypatch):
    """Processes that need not import everything anew."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: forking_context())


@pytest.mark.textworld
@pytest.mark.long
@pytest.mark.usefixtures("_forked")
def test_real_games_play_the_same_on_both_engines(alfworld_data, monkeypatch):
    pytest.importorskip("textworld", reason="needs the extra textworld")
    paths = draw_games(AlfworldSuite(alfworld_data), 2, seed=5)
    monkeypatch.setattr(verify, "NUM_GAMES_PER_PROCESS", 1)  # a second process must take over
    report = verify_games(paths, seed=5, num_steps=12)
    assert report.num_games == 2
    assert report.difference is None
    assert report.num_steps >= 24


@pytest.mark.textworld
@pytest.mark.usefixtures("_forked")
def test_a_killed_process_ends_the_comparison_with_an_error(alfworld_data):
    pytest.importorskip("textworld", reason="needs the extra textworld")
    paths = draw_games(AlfworldSuite(alfworld_data), 2, seed=5)

    def kill(_):
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(UserError, match="killed"):
        verify_games(paths, seed=5, num_steps=1, workers=1, on_progress=kill)
