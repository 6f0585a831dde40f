"""Files become worlds; files that are damaged or state other mechanics are refused."""

import json
import multiprocessing
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declutch.envs.alfworld import game
from declutch.envs.alfworld.domain import normalize_domain
from declutch.envs.alfworld.dynamics import apply_command, is_won, parse_command
from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.world import iterate_bits
from declutch.envs.households.domain import DOMAIN, grammar
from declutch.ground.errors import UserError


def names_of(world, bits):
    return {world.object_names[o] for o in iterate_bits(bits)}


def play(world, *commands, state=None):
    state = state or world.start
    for text in commands:
        command = parse_command(world, text)
        assert command is not None, text
        state = apply_command(world, state, command)
    return state


def test_names_number_down_and_skip_what_no_fact_mentions(kitchen):
    # "Curtains_bar_a" is declared only, "statue_bar_a" has a type and so exists.
    assert kitchen.object_names == (
        *("apple 2", "apple 1", "box 1", "desklamp 1"),
        *("knife 1", "mug 2", "mug 1", "statue 1"),
    )
    assert kitchen.receptacle_names == (
        *("cabinet 2", "cabinet 1", "countertop 1", "fridge 1"),
        *("microwave 1", "sinkbasin 1", "stoveburner 1"),
    )
    assert kitchen.task == "Your task is to: put some apple on cabinet."


def test_facts_become_sets(kitchen):
    counter = kitchen.receptacle_numbers["countertop 1"]
    burner = kitchen.receptacle_numbers["stoveburner 1"]
    on_counter = {"apple 2", "box 1", "desklamp 1", "knife 1", "mug 1"}
    assert names_of(kitchen, kitchen.start.contents[counter]) == on_counter
    assert names_of(kitchen, kitchen.start.contents[burner]) == {"mug 1"}
    assert names_of(kitchen, kitchen.start.cool) == {"apple 1"}
    assert names_of(kitchen, kitchen.can_contain[kitchen.receptacle_numbers["microwave 1"]]) == {
        *("apple 1", "apple 2", "mug 1", "mug 2")
    }
    box = kitchen.object_numbers["box 1"]
    assert names_of(kitchen, kitchen.box_contents[box]) == {"apple 1"}


EXISTS = "(and (exists (?r - receptacle) (exists (?o - object) (and {facts}))))"
PLACED = "(inReceptacle ?o ?r) (objectType ?o AppleType) (receptacleType ?r CabinetType)"
TAKE = ("go to countertop 1", "take apple 2 from countertop 1")
STORE = ("go to cabinet 1", "open cabinet 1", "move apple 2 to cabinet 1")


@pytest.mark.parametrize(
    ("facts", "missing", "step"),
    [
        ("(cleanable ?o) (isClean ?o)", "sinkbasin 1", "clean apple 2 with sinkbasin 1"),
        ("(heatable ?o) (isHot ?o)", "microwave 1", "heat apple 2 with microwave 1"),
        ("(coolable ?o) (isCool ?o)", "fridge 1", "cool apple 2 with fridge 1"),
    ],
)
def test_goal_needs_the_treatment(write_kitchen, facts, missing, step):
    world = load_world(write_kitchen(EXISTS.format(facts=f"{PLACED} {facts}")))
    assert not is_won(world, play(world, *TAKE, *STORE))
    assert is_won(world, play(world, *TAKE, f"go to {missing}", step, *STORE))


def test_goal_with_a_slice(write_kitchen):
    facts = f"{PLACED} (sliceable ?o) (isSliced ?o) (heatable ?o) (isHot ?o)"
    world = load_world(write_kitchen(EXISTS.format(facts=facts)))
    knife = (
        *("go to countertop 1", "take knife 1 from countertop 1", "slice apple 2 with knife 1"),
        "move knife 1 to countertop 1",
    )
    heat = ("go to microwave 1", "heat apple 2 with microwave 1")
    assert not is_won(world, play(world, *TAKE, *heat, *STORE))
    assert not is_won(world, play(world, *knife, *TAKE, *STORE))
    assert is_won(world, play(world, *knife, *TAKE, *heat, *STORE))


TWO_GOAL = """(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 MugType)
    (receptacleType ?r {place}) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and
    (not (= ?o1 ?o2)) (objectType ?o2 MugType) (receptacleType ?r {place})
    (inReceptacle ?o2 ?r)))))))"""


def test_goal_of_two_needs_one_place_for_both(write_kitchen):
    world = load_world(write_kitchen(TWO_GOAL.format(place="CabinetType")))
    first = ("go to countertop 1", "take mug 1 from countertop 1", "go to cabinet 1")
    apart = play(world, *first, "open cabinet 1", "move mug 1 to cabinet 1")
    together = play(world, *first, "open cabinet 2", "move mug 1 to cabinet 2")
    assert not is_won(world, apart)  # mug 2 is in cabinet 2
    assert is_won(world, together)


LAMP = """(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and
    (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l)
    (atLocation ?a ?l) (inReceptacle ?ot ?r)))"""
HELD = "(exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o)))"


def test_goal_under_the_lamp(write_kitchen):
    world = load_world(write_kitchen(f"(and {LAMP} {HELD})"))
    lit = play(world, "go to countertop 1", "use desklamp 1")
    assert not is_won(world, lit)
    both = play(world, "take mug 1 from countertop 1", state=lit)
    assert is_won(world, both)
    assert not is_won(world, play(world, "go to fridge 1", state=both))
    assert is_won(world, play(world, "go to fridge 1", "go to stoveburner 1", state=both))


@pytest.mark.parametrize(
    "goal",
    [
        "(and (isClean Apple_bar_a))",
        "(or (exists (?o - object) (isClean ?o)))",
        EXISTS.format(facts=f"{PLACED} (moveable ?o)"),
        EXISTS.format(facts=f"{PLACED} (not (isHot ?o))"),
        EXISTS.format(facts="(inReceptacle ?o ?r) (receptacleType ?r CabinetType)"),
        EXISTS.format(facts=f"{PLACED} (objectType ?o MugType)"),
        f"(and {HELD} {HELD})",
        TWO_GOAL.format(place="CabinetType").replace("(not (= ?o1 ?o2))", ""),
        "()",
    ],
)
def test_an_unknown_goal_is_refused_not_guessed(write_kitchen, goal):
    with pytest.raises(UserError, match=r"game\.tw-pddl.*goal"):
        load_world(write_kitchen(goal))


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the game file .*nowhere"):
        load_world(tmp_path / "nowhere")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 0.999))
def test_a_truncated_file_is_one_clear_error(write_kitchen, share):
    path = write_kitchen()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=re.escape(str(path))):
        load_world(path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_mangled_problem_is_refused_or_played_but_never_crashes(write_kitchen, data):
    problem = json.loads(write_kitchen().read_text())["pddl_problem"]
    words = re.findall(r"[()]|[^\s()]+", problem)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(words) - 1))
        words[position] = data.draw(st.sampled_from(["", "(", ")", "apple_bar_a", "-", "holds"]))
    path = write_kitchen(pddl_problem=" ".join(words))
    message = ""
    try:
        assert load_world(path).object_names
    except UserError as error:
        message = str(error)
    assert not message or str(path) in message


@pytest.mark.parametrize("content", ["", "[]", "7", "null", '{"pddl_domain": 3}', "\udcff"])
def test_other_json_is_no_game(tmp_path, content):
    path = tmp_path / "game.tw-pddl"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=re.escape(str(path))):
        load_world(path)


def test_the_same_mechanics_in_another_format_pass(write_kitchen):
    domain = re.sub(r"\s+", "\n  ", DOMAIN).replace("(:action look", "; a note\n(:action look")
    domain = domain.replace("(increase\n  (total-cost)\n  5)", "(increase (total-cost) 7)")
    assert domain != DOMAIN
    path = write_kitchen(pddl_domain=domain)
    assert load_world(path).goal.placed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(not (holdsAny ?a)) (or", "(or"),
        ("(not (isCool ?o))", "(isCool ?o)"),
        ("(isOn ?o) (not (isOn ?o))", "(isOn ?o) (isOn ?o)"),
        ("?l - location, ?r", "?l - location ?r"),
        ("SinkBasinType", "BathtubBasinType"),
        ("(:action help", "(:action wait :parameters () :effect (checked ?r))\n(:action help"),
        ("(:action help", "(:action assist"),
        ("agent location receptacle object", "agent location - agent receptacle object"),
    ],
)
def test_other_domains_are_refused(write_kitchen, old, new):
    assert DOMAIN.count(old) == 1
    with pytest.raises(UserError, match="PDDL domain"):
        load_world(write_kitchen(pddl_domain=DOMAIN.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("This is a cold", "This is a cool"),
        ("iscool(o:object) & issliced", "ishot(o:object) & issliced"),
        ("go to [{r.name", "walk to [{r.name"),
        ('", and "', '" and "'),
        ("use {o}", "toggle {o}"),
    ],
)
def test_other_wordings_are_refused(write_kitchen, old, new):
    text = grammar("put a mug in cabinet")
    assert old in text
    with pytest.raises(UserError, match="grammar"):
        load_world(write_kitchen(grammar=text.replace(old, new)))


@pytest.mark.parametrize("task", ["see #look.feedback#", "{1+1}", "[x]"])
def test_a_task_that_the_grammar_would_expand_is_refused(write_kitchen, task):
    with pytest.raises(UserError, match="plain text"):
        load_world(write_kitchen(grammar=grammar(task)))


def test_normal_form_ignores_the_order_of_conjuncts():
    one = "(define (:types a) (:action x :parameters (?p - a) :precondition {} :effect (c)))"
    both = "(and (p ?p) (q ?p))", "(and (and (q ?p)) (p ?p) (p ?p))"
    first, second = (normalize_domain(one.format(each)) for each in both)
    assert first == second
    assert first != normalize_domain(one.format("(or (p ?p) (q ?p))"))


def test_the_cache_gives_the_same_world(write_kitchen, tmp_path, monkeypatch):
    path, cache = write_kitchen(f"(and {LAMP} {HELD})"), tmp_path / "cache"
    world = load_world(path, cache)
    monkeypatch.setattr(game, "compile_game", None)  # The second time nothing is compiled.
    assert load_world(path, cache) == world


def test_a_changed_file_is_compiled_anew(write_kitchen, tmp_path):
    cache = tmp_path / "cache"
    first = load_world(write_kitchen(), cache)
    second = load_world(write_kitchen(grammar=grammar("put a mug in desk")), cache)
    assert first.task != second.task


@pytest.mark.parametrize("damage", [b"", b"abc", b"\0" * 500, "flip", "cut"])
def test_a_damaged_cache_entry_is_made_anew(write_kitchen, tmp_path, damage):
    path, cache = write_kitchen(), tmp_path / "cache"
    world = load_world(path, cache)
    (entry,) = cache.rglob("*.world")
    good = entry.read_bytes()
    if damage == "flip":
        entry.write_bytes(good[:99] + bytes([good[99] ^ 1]) + good[100:])
    else:
        entry.write_bytes(good[:-7] if damage == "cut" else damage)
    assert load_world(path, cache) == world
    assert entry.read_bytes() == good


def test_an_unwritable_cache_is_one_clear_error(write_kitchen, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write the compiled game .*cache directory"):
        load_world(write_kitchen(), blocked)


def _load_often(path, cache, results):
    worlds = []
    for _ in range(50):
        for entry in cache.rglob("*.world"):
            entry.unlink(missing_ok=True)
        worlds.append(load_world(path, cache))
    results.put(all(world == worlds[0] for world in worlds))


def test_processes_share_a_cache_safely(write_kitchen, tmp_path):
    path, cache = write_kitchen(), tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_load_often, args=(path, cache, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [results.get(timeout=60) for _ in workers] == [True] * 3
    assert not [each for each in cache.rglob("*") if each.is_file() and each.suffix != ".world"]


def test_every_real_walkthrough_wins(alfworld_data):
    # One in sixteen of the games on disk, spread evenly over types, rooms and trials.
    paths = sorted(alfworld_data.glob("json_2.1.1/*/*/*/game.tw-pddl"))[::16]
    assert paths, f"no games in {alfworld_data}"
    for path in paths:
        world = load_world(path)
        state = world.start
        for position, text in enumerate(world.walkthrough):
            assert not is_won(world, state), (path, position)
            state = play(world, text, state=state)
        assert is_won(world, state), path
