"""Case studies: held-out episodes of a household that fail by a habit of the task types trained on.

A habit is found by the actions alone. In a task to cool something it is to go to a microwave, or to
heat, which trained tasks ask for; in a task to place two objects it is to place one and no other.

Source: GC Figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from declutch.evaluation.behaviour import mark_looped, mark_repeated
from declutch.records import Episode, Outcome
from declutch.report.cells import count_cell, percent_cell
from declutch.report.sheet import Cell, Column, Sheet, SheetRow, Tone, words


@dataclass(frozen=True)
class Habit:
    """A habit that case studies look for.

    Attributes:
        name: what the policy does.
        kind: the held-out type of task, "" for any.
        find: the places in a list of actions that show the habit; () where they do not.
    """

    name: str
    kind: str
    find: Callable[[Sequence[str]], tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """A case study: an episode that failed, by which habit, and at which steps it shows."""

    habit: Habit
    episode: Episode
    places: tuple[int, ...]


def goes_to_microwave(actions: Sequence[str]) -> tuple[int, ...]:
    """Case studies: steps of a cooling task that go to a microwave or heat something."""
    return tuple(
        place
        for place, action in enumerate(actions)
        if action.startswith(("go to microwave", "open microwave", "heat "))
    )


def places_one_of_two(actions: Sequence[str]) -> tuple[int, ...]:
    """Case studies: steps of a two-object task that place an object where no other is placed."""
    placed = [
        (place, action.split(" to ")[0].split(" in/on ")[0])
        for place, action in enumerate(actions)
        if action.startswith(("move ", "put "))
    ]
    if len({thing for _, thing in placed}) != 1:
        return ()
    return tuple(place for place, _ in placed)


def is_stuck(actions: Sequence[str]) -> tuple[int, ...]:
    """Case studies: repeated or looped steps, where they are at least half of an episode."""
    marks = zip(mark_repeated(actions), mark_looped(actions), strict=True)
    found = tuple(place for place, (repeated, looped) in enumerate(marks) if repeated or looped)
    return found if 2 * len(found) >= len(actions) else ()


HABITS = (
    Habit("goes to the microwave to cool", "pick_cool_then_place_in_recep", goes_to_microwave),
    Habit("places one of two objects", "pick_two_obj_and_place", places_one_of_two),
    Habit("repeats itself for half of the episode", "", is_stuck),
)


def find_cases(episodes: Sequence[Episode]) -> list[Case]:
    """Find case studies among episodes: those that failed and show a habit, one case a habit."""
    return [
        Case(habit, episode, places)
        for habit in HABITS
        for episode in episodes
        if episode.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)
        and habit.kind in ("", episode.task.kind)
        and (places := habit.find([step.action.text for step in episode.steps]))
    ]


def habit_sheet(cases: Sequence[Case], episodes: Sequence[Episode], header: str) -> Sheet:
    """The table of case studies: how often each habit is found among the failed episodes."""
    rows = []
    for habit in HABITS:
        of_kind = [e for e in episodes if habit.kind in ("", e.task.kind)]
        failed = [e for e in of_kind if e.outcome in (Outcome.FAILED, Outcome.TIMED_OUT)]
        shown = sum(case.habit is habit for case in cases)
        rows.append(
            SheetRow(
                (
                    Cell(habit.name),
                    Cell(habit.kind or "any"),
                    count_cell(len(of_kind)),
                    count_cell(len(failed)),
                    count_cell(shown),
                    percent_cell(shown / len(failed) if failed else float("nan")),
                )
            )
        )
    return Sheet(
        title="Failures by a habit",
        columns=(
            words("habit"),
            words("task type"),
            Column("episodes"),
            Column("failed"),
            Column("by the habit"),
            Column("of the failed", "%"),
        ),
        rows=tuple(rows),
        header=header,
        notes=(
            "A habit is read off the actions: it accompanies a failure and need not be its cause.",
        ),
    )


def case_sheet(case: Case) -> Sheet:
    """The table of one case study, step by step; steps that show the habit are marked."""
    rows = []
    for place, step in enumerate(case.episode.steps):
        tone: Tone = "warn" if place in case.places else ""
        rows.append(
            SheetRow(
                (
                    Cell(str(place + 1)),
                    Cell(step.observation),
                    Cell(step.action.thought),
                    Cell(step.action.text or "(none)", tone=tone),
                )
            )
        )
    task = case.episode.task
    return Sheet(
        title=f"{case.habit.name}: {task.name}",
        columns=(words("step"), words("observation"), words("thought"), words("action")),
        rows=tuple(rows),
        header=f"{task.kind} · {case.episode.outcome.value} · the habit at steps "
        + ", ".join(str(place + 1) for place in case.places),
    )


def case_data(cases: Sequence[Case]) -> list[Mapping[str, Any]]:
    """Case studies as the data of a JSON file."""
    return [
        {
            "habit": case.habit.name,
            "task": case.episode.task.name,
            "kind": case.episode.task.kind,
            "outcome": case.episode.outcome.value,
            "habit_steps": list(case.places),
            "steps": [
                {
                    "observation": step.observation,
                    "thought": step.action.thought,
                    "action": step.action.text,
                }
                for step in case.episode.steps
            ],
        }
        for case in cases
    ]
