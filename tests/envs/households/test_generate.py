"""Generated households: the files, the games in them, and how close they are to the real ones."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declutch.envs.alfworld.dynamics import is_won
from declutch.envs.alfworld.expert import Expert
from declutch.envs.alfworld.game import compile_game
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.households import generate as households
from declutch.envs.households import tasks as tasks
from declutch.envs.households.domain import DOMAIN, grammar
from declutch.envs.households.game import make_household
from declutch.envs.households.generate import (
    HouseholdCounts,
    ensure_households,
    generate_games,
    generate_households,
    scene_numbers,
)
from declutch.envs.households.pddl import display_names, render_problem, walkthrough
from declutch.envs.households.scene import build_scene, pick_weighted
from declutch.envs.households.wishes import wishes
from declutch.ground.errors import UserError

SPLITS = ("train", "valid_seen", "valid_unseen")
COUNTS = HouseholdCounts(train=24, valid_seen=12, valid_unseen=12)
FEW = HouseholdCounts(train=2, valid_seen=1, valid_unseen=1)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_households(tmp_path_factory.mktemp("cache"), seed=5, counts=COUNTS)


@pytest.fixture(scope="module")
def suite(data_dir: Path) -> AlfworldSuite:
    return AlfworldSuite(data_dir, name="households")


def digest(folder: Path) -> str:
    """One hash of all names and bytes below a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


# --- the files -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert generate_households(tmp_path / name, seed, FEW) == 4
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_a_game_does_not_depend_on_how_many_are_asked_for() -> None:
    assert list(generate_games(1, "train", 3)) == list(generate_games(1, "train", 7))[:3]


def test_a_change_of_the_games_needs_a_new_version() -> None:
    # Caches are told apart by the version: raise it together with this digest, never alone.
    games = [game for split in SPLITS for game in generate_games(0, split, 6)]
    content = json.dumps([(game.name, game.content) for game in games])
    found = (households.GENERATOR_VERSION, hashlib.sha256(content.encode()).hexdigest())
    assert found == (2, "7dce0e8206c35245116e46ed21fd35dab904905150507faae2be054473da125c")


def test_layout_is_the_official_one(data_dir: Path) -> None:
    pattern = re.compile(
        r"json_2\.1\.1/(train|valid_seen|valid_unseen)/"
        rf"({'|'.join(tasks.TASK_KINDS)})-([A-Z][A-Za-z]+)-None-([A-Z][A-Za-z]+)-(\d+)/"
        r"trial_[A-Za-z0-9_]+/game\.tw-pddl"
    )
    files = [p for p in data_dir.rglob("*") if p.is_file() and p.name != households.STAMP_FILE]
    assert len(files) == COUNTS.total
    for path in files:
        match = pattern.fullmatch(path.relative_to(data_dir).as_posix())
        assert match is not None, path
        assert int(match[5]) in scene_numbers(match[1])
        data = json.loads(path.read_text(encoding="utf-8"))
        assert list(data) == ["pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"]
        assert data["solvable"] is True
        assert path.stat().st_size < 100_000
        folder, problem = path.parent.name, data["pddl_problem"]
        assert f"(problem plan_{folder})" in problem
        assert f"{match[3]}Type" in problem.partition("(:goal")[2]
        assert f"{match[4]}Type" in problem.partition("(:goal")[2]


def test_every_split_has_all_six_types_and_the_levels_their_own(suite: AlfworldSuite) -> None:
    for split, count in zip(SPLITS, (24, 12, 12), strict=True):
        games = suite.tasks(split)
        assert len(games) == count
        by_kind = [sum(t.kind == kind for t in games) for kind in tasks.TASK_KINDS]
        assert by_kind == [count // 6] * 6
    assert {t.kind for t in suite.tasks("L0")} == set(tasks.TASK_KINDS) - {tasks.COOL, tasks.TWO}
    assert {t.kind for t in suite.tasks("L2")} == {tasks.COOL, tasks.TWO}


def test_default_counts_leave_400_games_to_the_levels_of_training_types() -> None:
    counts = HouseholdCounts()
    kinds = [tasks.TASK_KINDS[i % 6] for i in range(counts.valid_seen)]
    assert sum(kind not in (tasks.COOL, tasks.TWO) for kind in kinds) == 468
    assert counts.total == 3000


def test_splits_share_no_game_and_unseen_no_scene(suite: AlfworldSuite, data_dir: Path) -> None:
    def scenes(split: str) -> set[str]:
        return {t.name.split("/")[0].rsplit("-", 1)[1] for t in suite.tasks(split)}

    assert not scenes("valid_unseen") & (scenes("train") | scenes("valid_seen"))
    assert not set(scene_numbers("valid_unseen")) & set(scene_numbers("train"))
    assert scene_numbers("train") == scene_numbers("valid_seen")
    initial = []
    for path in data_dir.rglob("game.tw-pddl"):
        problem = json.loads(path.read_text(encoding="utf-8"))["pddl_problem"]
        initial.append(problem.partition("(:objects")[2])
    assert len(set(initial)) == COUNTS.total


def test_every_scene_of_a_seed_is_furnished_differently() -> None:
    scenes = [build_scene(0, n) for n in (*scene_numbers("train"), *scene_numbers("valid_unseen"))]
    assert len(scenes) == 120
    assert len({frozenset((r.kind, r.location) for r in s.receptacles) for s in scenes}) == 120


# --- writing them --------------------------------------------------------------------------------


def test_a_second_call_leaves_everything_as_it_is(tmp_path: Path) -> None:
    folder = ensure_households(tmp_path, 1, FEW)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    calls: list[tuple[int, int]] = []
    assert generate_households(folder, 1, FEW, lambda *c: calls.append(c)) == 4
    assert ensure_households(tmp_path, 1, FEW) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert calls == []


def test_progress_counts_every_game(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate_households(tmp_path / "games", 1, FEW, lambda *c: calls.append(c))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_households_of_several_seeds_and_sizes_live_side_by_side(tmp_path: Path) -> None:
    more = HouseholdCounts(train=3, valid_seen=1, valid_unseen=1)
    folders = {ensure_households(tmp_path, s, c) for s, c in ((1, FEW), (2, FEW), (1, more))}
    assert len(folders) == 3


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "games"
    generate_households(folder, 1, FEW)
    before = digest(folder)
    with pytest.raises(UserError, match="holds other files or games"):
        generate_households(folder, 2, FEW)
    assert digest(folder) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes holds other files"):
        generate_households(tmp_path / "notes", 1, FEW)
    with pytest.raises(UserError, match="is a file"):
        generate_households(tmp_path / "notes" / "a.txt", 1, FEW)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "games").mkdir()
    assert generate_households(tmp_path / "games", 1, FEW) == 4
    assert len(list((tmp_path / "games").rglob("game.tw-pddl"))) == 4


def test_a_game_that_went_missing_is_noticed(tmp_path: Path) -> None:
    folder = ensure_households(tmp_path, 1, FEW)
    next(folder.rglob("game.tw-pddl")).unlink()
    with pytest.raises(UserError, match="3 of 4 games; delete it"):
        ensure_households(tmp_path, 1, FEW)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    write = Path.write_text

    def fill_up(self: Path, *args: Any, **kwargs: Any) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fill_up)
    with pytest.raises(UserError, match=r"cannot write .*games: No space left.*free some space"):
        generate_households(tmp_path / "games", 1, FEW)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot (write|read) "):
        ensure_households(tmp_path / "file", 1, FEW)


@pytest.mark.parametrize("counts", [{"train": -1}, dict.fromkeys(SPLITS, 0)])
def test_impossible_counts_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(UserError, match="households"):
        HouseholdCounts(**counts)


def _generate(folder: Path, queue: Any) -> None:
    queue.put(generate_households(folder, 1, FEW))


def test_several_processes_at_once_end_with_one_complete_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    folder = tmp_path / "games"
    workers = [context.Process(target=_generate, args=(folder, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert [queue.get(timeout=60) for _ in workers] == [4] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["games"]
    generate_households(tmp_path / "alone", 1, FEW)
    assert digest(folder) == digest(tmp_path / "alone")


# --- the games -----------------------------------------------------------------------------------


def test_every_walkthrough_wins_with_its_last_command(suite: AlfworldSuite) -> None:
    env = suite.make_env()
    for split in SPLITS:
        for task in suite.tasks(split):
            observation = env.reset(task)
            for i, command in enumerate(env.world.walkthrough):
                assert command in observation.admissible
                transition = env.step(command)
                observation = transition.observation
                assert transition.is_won == (i == len(env.world.walkthrough) - 1)


def test_no_walkthrough_has_a_command_too_many(suite: AlfworldSuite) -> None:
    env = suite.make_env()
    for task in suite.tasks("valid_unseen"):
        env.reset(task)
        commands = env.world.walkthrough
        for left_out in range(len(commands)):
            env.reset(task)
            steps = [env.step(c) for i, c in enumerate(commands) if i != left_out]
            assert not any(step.is_won for step in steps), (task.name, commands[left_out])


def test_the_expert_wins_from_text_alone(suite: AlfworldSuite) -> None:
    env, expert = suite.make_env(), Expert()
    won = []
    for task in (*suite.tasks("valid_seen"), *suite.tasks("valid_unseen")):
        expert.reset(task, env.reset(task))
        for _ in range(50):
            action = expert.act().action
            transition = env.step(action)
            expert.update(action, transition.observation)
            if transition.is_done:
                break
        won.append(transition.is_won)
    assert sum(won) >= len(won) - 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.sampled_from(sorted(tasks.TASK_KINDS)), st.data())
def test_any_household_is_consistent_and_not_yet_won(seed: int, kind: str, data: Any) -> None:
    number = data.draw(st.sampled_from([*scene_numbers("train"), *scene_numbers("valid_unseen")]))
    scene = build_scene(seed, number)
    options = wishes(scene, kind)
    if not options:
        return
    rng = Random(seed)
    wish = pick_weighted(rng, options)
    house = make_household(scene, wish, rng)
    ids = [*scene.by_id, *(item.id for item in house.items)]
    assert len(set(ids)) == len(ids) == len(set(display_names(ids).values()))
    for item in house.items:
        places = [scene.by_id[r] for r in item.receptacles]
        assert not places or item.location == places[0].location
        assert item.location != scene.start
    targets = [i for i in house.items if i.kind == wish.object_kind and not i.is_fixed]
    assert len(targets) >= (2 if kind == tasks.TWO else 1)
    assert all(len(item.receptacles) == 1 for item in targets)
    if kind in (tasks.SIMPLE, tasks.TWO):
        assert all(scene.by_id[t.receptacles[0]].kind != wish.goal_kind for t in targets)
    if kind == tasks.LOOK:
        assert any(not scene.by_id[t.receptacles[0]].is_openable for t in targets)
    world = compile_game(
        {
            "pddl_domain": DOMAIN,
            "grammar": grammar(house.sentence),
            "pddl_problem": render_problem(house, "trial_x"),
            "walkthrough": list(walkthrough(house)),
        }
    )
    assert not is_won(world, world.start)
    assert set(world.object_names) | set(world.receptacle_names) == set(display_names(ids).values())


def test_names_number_each_type_in_descending_order_of_ids() -> None:
    names = display_names(["Mug_bar_b", "Mug_bar_a", "Sink_bar_a", "Sink_bar_a_bar_SinkBasin"])
    assert names == {
        "Mug_bar_a": "mug 2",
        "Mug_bar_b": "mug 1",
        "Sink_bar_a": "sink 1",
        "Sink_bar_a_bar_SinkBasin": "sinkbasin 1",
    }


def test_a_scene_that_cannot_serve_a_task_offers_no_wish() -> None:
    assert wishes(build_scene(0, 1), tasks.LOOK) == []
    bathrooms = [build_scene(0, n) for n in scene_numbers("train") if n > 400]
    assert bathrooms
    for scene in bathrooms:
        assert wishes(scene, tasks.HEAT) == wishes(scene, tasks.COOL) == []
        for wish, weight in wishes(scene, tasks.CLEAN):
            assert weight > 0
            assert wish.goal_kind in scene.by_kind
            assert wish.object_kind in tasks.can_contain()[wish.goal_kind]


# --- like the real ones --------------------------------------------------------------------------

# Means over the 3,633 provided real games: walkthrough length, things of the wanted type.
REAL_WALKS = {
    tasks.SIMPLE: (4.16, 2.10),
    tasks.LOOK: (3.62, 2.16),
    tasks.CLEAN: (6.25, 2.24),
    tasks.HEAT: (6.26, 2.39),
    tasks.COOL: (6.15, 1.92),
    tasks.TWO: (8.28, 2.81),
}
# Means by room kind, each scene once: receptacles, and things in or on them.
REAL_ROOMS = {
    "kitchen": (33.3, 44.7),
    "living": (15.0, 20.6),
    "bedroom": (14.8, 22.9),
    "bathroom": (14.2, 15.4),
}


def _sample() -> Iterator[tuple[str, Any]]:
    for seed in range(4):
        for split in ("train", "valid_unseen"):
            for game in generate_games(seed, split, 60):
                yield game.name, compile_game(game.content)


def test_size_and_difficulty_are_those_of_the_real_games() -> None:
    walks, wanted = defaultdict(list), defaultdict(list)
    receptacles, things = defaultdict(list), defaultdict(list)
    for name, world in _sample():
        kind, target, _, _, number = name.split("/")[1].split("-")
        room = ["kitchen", "", "living", "bedroom", "bathroom"][int(number) // 100]
        inside = 0
        for contents in world.start.contents:
            inside |= contents
        walks[kind].append(len(world.walkthrough))
        wanted[kind].append(world.object_types.count(target.lower()))
        receptacles[room].append(len(world.receptacle_names))
        things[room].append(inside.bit_count())
    for kind, (walk, count) in REAL_WALKS.items():
        assert mean(walks[kind]) == pytest.approx(walk, abs=0.4), kind
        assert mean(wanted[kind]) == pytest.approx(count, abs=0.45), kind
    for room, (places, count) in REAL_ROOMS.items():
        assert mean(receptacles[room]) == pytest.approx(places, rel=0.2), room
        assert mean(things[room]) == pytest.approx(count, rel=0.15), room


def _tokens(lisp: str) -> list[str]:
    return re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", lisp))


def _productions(text: str) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    productions: dict[str, Any] = {}
    for block in re.findall(r'grammar :: """(.*?)"""', text, re.DOTALL):
        productions |= json.loads(block)
    actions = re.findall(
        r'action (\w+) \{\s*template :: "(.*?)";\s*feedback :: "(.*?)";', text, re.DOTALL
    )
    return productions, actions


def test_rules_and_wording_are_those_of_the_real_games(alfworld_data: Path) -> None:
    path = next((alfworld_data / "json_2.1.1").glob("valid_seen/*/*/game.tw-pddl"))
    real = json.loads(path.read_text(encoding="utf-8"))
    assert _tokens(DOMAIN) == _tokens(real["pddl_domain"])
    productions, actions = _productions(real["grammar"])
    task = re.fullmatch(r"Your task is to: (.*)\.", productions["task"][0]["rhs"])
    assert task is not None
    ours, our_actions = _productions(grammar(task[1]))
    assert ours == productions
    assert our_actions == actions
    assert len(actions) == 21


def test_sentences_are_those_of_the_real_games(alfworld_data: Path) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    files = sorted((alfworld_data / "json_2.1.1").glob("valid_*een/*/*/game.tw-pddl"))
    for path in files:
        kind, thing, _, goal, _ = path.parent.parent.name.split("-")
        text = path.read_text(encoding="utf-8")
        match = re.search(r"Your task is to: ([^\"]*?)\.\\\"", text)
        assert match is not None
        words = [
            {thing.lower(): "{obj}", goal.lower(): "{recep}"}.get(w, w) for w in match[1].split()
        ]
        found[kind].add(" ".join(words))
    assert found == {kind: set(texts) for kind, texts in tasks.SENTENCES.items()}


# --- in both engines -----------------------------------------------------------------------------


@pytest.mark.textworld
@pytest.mark.parametrize(
    ("kind", "split"),
    [(tasks.LOOK, "train"), (tasks.TWO, "valid_seen"), (tasks.HEAT, "valid_unseen")],
)
def test_the_official_engine_plays_them_identically(
    suite: AlfworldSuite, kind: str, split: str
) -> None:
    pytest.importorskip("textworld", reason="the official engine is not installed")
    from declutch.envs.alfworld.reference import ReferenceEnv

    rng = Random(0)
    task = rng.choice([t for t in suite.tasks(split) if t.kind == kind])
    ours, official = suite.make_env(), ReferenceEnv(suite.path_of)
    expected, observation = official.reset(task), ours.reset(task)
    commands = [*ours.world.walkthrough]
    try:
        for step in range(4 + len(commands)):
            assert observation.text == expected.text
            assert observation.admissible == expected.admissible
            options = [c for c in observation.admissible if not c.startswith("go to")]
            wander = rng.choice((*options, *observation.admissible, "open the sky"))
            action = commands.pop(0) if step >= 4 else wander
            theirs, mine = official.step(action), ours.step(action)
            assert (mine.is_won, mine.is_done) == (theirs.is_won, theirs.is_done)
            if mine.is_done:
                break
            expected, observation = theirs.observation, mine.observation
    finally:
        official.close()
