"""Choose the steps the actor is asked about, and what the right answers are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from declutch.judge.labels import Labels
from declutch.records import Episode

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """One of the questions that an auxiliary task asks about steps, with its right answer.

    Attributes:
        episode, position: which step.
        label: 1 good, 0 bad; None where a prediction is asked for.
        answer: the right answer: the label as text, or the observation that followed.
        prompt: the prompt's text.
        source: where the label came from, e.g. "oracle" or "rule+llm"; "" without a label.
    """

    episode: int
    position: int
    label: int | None
    answer: str
    prompt: str
    source: str = ""

    def is_right(self, answer: str) -> bool:
        """Whether an answer is the right one; an unreadable one ("") never is."""
        return answer != "" and answer == self.answer


def select_steps(
    episodes: Sequence[Episode],
    labels: Sequence[Labels],
    count: int,
    generator: torch.Generator,
) -> list[tuple[int, int, int]]:
    """Choose up to `count` labelled steps for the judge's questions, half of them good, half bad.

    Both classes get half, so that always answering "bad" cannot pay; when one class has fewer,
    the other fills up no further than its own half plus what keeps the two equal, i.e. the result
    is always balanced to within one. Within a class the tasks take turns, and within a task its
    episodes, so that no long failure fills the list.

    Returns:
        (episode, position, label) triples in play order.
    """
    pools = {value: _by_turns(episodes, labels, value, generator) for value in (0, 1)}
    half = min(len(pools[0]), len(pools[1]), (count + 1) // 2)
    chosen = [(e, p, value) for value in (0, 1) for e, p in pools[value][:half]]
    # An odd count drops one of the last pair: the class to lose it is drawn.
    if len(chosen) > count:
        drop = int(torch.randint(2, (1,), generator=generator))
        chosen.pop(half - 1 if drop == 0 else -1)
    return sorted(chosen)


def build_questions(
    episodes: Sequence[Episode],
    chosen: Sequence[tuple[int, int, int]],
    sources: Sequence[Sequence[str]],
    render: Callable[[Episode, int], str],
) -> list[Question]:
    """Write the judge's questions about chosen steps; `render` gives the judge prompt of a step.

    Args:
        sources: by episode and step, where the label came from.
    """
    return [
        Question(e, p, label, str(label), render(episodes[e], p), sources[e][p])
        for e, p, label in chosen
    ]


def spread_steps(
    episodes: Sequence[Episode], count: int, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Choose up to `count` steps for an auxiliary task's questions, spread over tasks and episodes.

    Returns:
        (episode, position) pairs in play order.
    """
    alike: list[Labels] = [(1,) * len(episode.steps) for episode in episodes]
    return sorted(_by_turns(episodes, alike, 1, generator)[:count])


def _by_turns(
    episodes: Sequence[Episode],
    labels: Sequence[Labels],
    value: int,
    generator: torch.Generator,
) -> list[tuple[int, int]]:
    """Steps of one class in drawn order, tasks taking turns, and their episodes within a turn."""
    by_task: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (episode, marks) in enumerate(zip(episodes, labels, strict=True)):
        for position, mark in enumerate(marks):
            if mark == value:
                by_task[episode.group][index].append(position)
    queues = []
    for group in sorted(by_task):
        lanes = [
            [(index, p) for p in _shuffled(positions, generator)]
            for index, positions in sorted(by_task[group].items())
        ]
        queues.append(_round_robin(_shuffled(lanes, generator)))
    return _round_robin(_shuffled(queues, generator))


def _round_robin(queues: list[list[T]]) -> list[T]:
    longest = max((len(q) for q in queues), default=0)
    return [q[i] for i in range(longest) for q in queues if i < len(q)]


def _shuffled(items: list[T], generator: torch.Generator) -> list[T]:
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
