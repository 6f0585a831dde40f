"""Case studies are found by the actions, among failed episodes of their type of task."""

from dataclasses import replace

from builders import make_action, make_episode, make_step

from declutch.coupling.cases import HABITS, case_data, case_sheet, find_cases, habit_sheet
from declutch.records import Outcome, TaskId

COOL, TWO = "pick_cool_then_place_in_recep", "pick_two_obj_and_place"


def play(kind, actions, outcome=Outcome.TIMED_OUT):
    steps = [make_step(action=make_action(action)) for action in actions]
    episode = make_episode(0, (), outcome, steps)
    return replace(episode, task=TaskId("alfworld", "valid_unseen", 0, f"{kind}-1", kind))


def test_habits_are_told_apart() -> None:
    microwave = play(COOL, ["take egg 1", "go to microwave 1", "go to fridge 1"])
    fridge = play(COOL, ["take egg 1", "go to fridge 1", "cool egg 1 with fridge 1"])
    heated = play("pick_heat_then_place_in_recep", ["go to microwave 1", "heat egg 1"])
    won = play(COOL, ["go to microwave 1"], Outcome.WON)
    one = play(TWO, ["take pen 1", "move pen 1 to desk 1", "look", "go to shelf 1"])
    both = play(TWO, ["move pen 1 to desk 1", "move pen 2 to desk 1"])
    stuck = play(TWO, ["look", "look", "look", "go to shelf 1"])
    episodes = [microwave, fridge, heated, won, one, both, stuck]
    cases = find_cases(episodes)
    found = [(case.habit.name, case.episode, case.places) for case in cases]
    assert found == [
        (HABITS[0].name, microwave, (1,)),
        (HABITS[1].name, one, (1,)),
        (HABITS[2].name, stuck, (1, 2)),
    ]
    rows = habit_sheet(cases, episodes, "").rows
    assert [cell.text for cell in rows[0].cells[2:]] == ["3", "2", "1", "50.0"]
    sheet = case_sheet(cases[0])
    assert [row.cells[3].tone for row in sheet.rows] == ["", "warn", ""]
    assert case_data(cases)[1]["habit_steps"] == [1]
