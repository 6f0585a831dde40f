"""`declutch play`: one game in the terminal, by a person, the expert, chance or a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.rule import Rule

from declutch.cli.line_editing import Completer, line_editing
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import console as terminal
from declutch.cli.terminal import open_suite
from declutch.ground.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from declutch.config.run import Config
    from declutch.envs.protocol import Expert, Suite, TextEnv
    from declutch.records import Episode, TaskId

PLAYERS = ("me", "expert", "random")
"""Who plays without a model."""
WORDS = ("actions", "hint", "quit")
"""What can be typed besides actions and their numbers."""
HELP = (
    "Type an action or its number; Tab completes it, and the arrow keys bring back earlier ones. "
    "Empty line or 'actions': what is possible; 'hint': what the expert would do; 'quit': leave."
)


@grouped
def play_command(
    player: Annotated[
        str, typer.Argument(help="me, expert, random, or a model folder or hub name.")
    ] = "me",
    *,
    given: GivenSettings,
    split: Annotated[str, typer.Option(help="The split or level to take the game from.")] = "L0",
    game: Annotated[int, typer.Option(help="The number of the game within the split.")] = 0,
) -> None:
    """Play one game in the terminal, or watch the expert or a model play it."""
    settings = given.load()
    if player not in PLAYERS:
        from declutch.models.find import find_model

        find_model(player)
    play_game(player, settings, open_suite(settings), split, game, terminal)


def play_game(
    player: str, config: Config, suite: Suite, split: str, game: int, console: Console
) -> None:
    """`declutch play`: play one game in the terminal, by hand or by a player that is watched.

    Args:
        player: "me", "expert", "random", or a model folder or hub name.
    Raises:
        UserError: no such game or model.
    """
    from declutch.envs.protocol import HasExpert

    tasks = suite.tasks(split)
    if not 0 <= game < len(tasks):
        raise UserError(f"--game {game}: {split} has games 0 to {len(tasks) - 1}")
    task = tasks[game]
    console.print(Rule(f"{split} game {game}: {escape(task.name)}"))
    if player == "me":
        env = suite.make_env()
        try:
            expert = suite.make_expert(config.seed) if isinstance(suite, HasExpert) else None
            completer = Completer(WORDS)
            with line_editing(completer, config.env.cache_dir.expanduser(), console.input) as ask:
                hand = _Hand(expert, completer, ask, console)
                _play_by_hand(env, hand, task, config.env.max_steps)
        finally:
            env.close()
        return
    _show(_watch(player, config, suite, task), console)


def _watch(player: str, config: Config, suite: Suite, task: TaskId) -> Episode:
    from declutch.evaluation.players import SCRIPTED, model_player, scripted_player
    from declutch.rollout.collect import CollectParams

    steps = config.env.max_steps
    if player in SCRIPTED:
        return scripted_player(player, suite, steps).play([task], config.seed)[0]
    # Imported here because a person or the expert needs no model library.
    from declutch.rollout.policy import load_policy

    policy = load_policy(player, config)
    params = CollectParams(
        max_steps=steps, temperature=config.eval.temperature, reflection=config.eval.reflection
    )
    return model_player(player, policy, suite, params).play([task], config.seed)[0]


def _show(episode: Episode, console: Console) -> None:
    for number, step in enumerate(episode.steps, start=1):
        console.print(escape(step.observation), highlight=False)
        thought = f"[dim italic]{escape(step.action.thought)}[/]\n" if step.action.thought else ""
        mark = "" if step.action.is_admissible else " [red](not possible here)[/]"
        console.print(f"{thought}[bold cyan]{number} > {escape(step.action.text)}[/]{mark}")
    console.print(escape(episode.final_observation), highlight=False)
    console.print(
        f"[bold]{episode.outcome.value.replace('_', ' ')}[/] in {len(episode.steps)} steps"
    )


@dataclass(frozen=True)
class _Hand:
    """Who plays by hand, and what helps: the expert's hints, and completion of what is typed."""

    expert: Expert | None
    completer: Completer
    ask_line: Callable[[str], str]
    console: Console

    def hint(self) -> str:
        if self.expert is None:
            return "this suite has no expert"
        advice = self.expert.act()
        return "the expert knows no way to win any more" if advice is None else advice.action

    def ask(self, admissible: tuple[str, ...], number: int) -> str | None:
        """The next action, or None to leave."""
        self.completer.actions = tuple(admissible)
        width = int(math.log10(max(len(admissible), 1))) + 1
        while True:
            try:
                text = self.ask_line(f"{number} > ").strip()
            except EOFError:
                return None
            if text == "quit":
                return None
            if text == "hint":
                self.console.print(f"[dim]{escape(self.hint())}[/]")
            elif text in ("", "actions"):
                lines = [f"{i:>{width}} {escape(a)}" for i, a in enumerate(admissible, start=1)]
                self.console.print("\n".join(lines), highlight=False)
            elif text.isdigit() and 1 <= int(text) <= len(admissible):
                return admissible[int(text) - 1]
            else:
                return text


def _play_by_hand(env: TextEnv, hand: _Hand, task: TaskId, max_steps: int) -> None:
    observation, expert, console = env.reset(task), hand.expert, hand.console
    if expert is not None:
        expert.reset(task, observation)
    console.print(f"[dim]{HELP}[/]\n{escape(observation.text)}", highlight=False)
    for number in range(1, max_steps + 1):
        action = hand.ask(observation.admissible, number)
        if action is None:
            return
        transition = env.step(action)
        observation = transition.observation
        if expert is not None:
            expert.update(action, observation)
        console.print(escape(observation.text), highlight=False)
        if transition.is_won:
            console.print(f"[bold green]won[/] in {number} steps")
            return
        if transition.is_done:
            console.print(f"[bold red]lost[/] after {number} steps")
            return
    console.print(f"[bold red]out of time[/]: {max_steps} steps are gone")
