"""What the agent is shown: a view of the episode, rendered afresh at every step.

Nothing of earlier responses but the actions enters a prompt, as in GC and RM, unless the agent has
to name its way of reasoning: then its last plan and its last answers do as well, as in RLVMR. The
sentences are in the template files beside this module; the words that differ between suites are the
suite's own `Wording`. In the full form what stays the same within an episode stands first, and what
changes with every step last: as much of a prompt as possible is then the beginning of the next one,
which an engine that keeps what it computed need not compute again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Literal

from declutch.agent.distractors import insert_sentences, insert_words
from declutch.config.section import JudgePrompt, Reasoning
from declutch.envs.wording import Wording
from declutch.records import Action, Distractor, Episode

PromptForm = Literal["compact", "full"]

NUM_ANSWERS = 3
"""How many of its last answers an agent is shown that has to name its way of reasoning."""


@dataclass(frozen=True)
class View:
    """The view that the agent's prompt is rendered from: what it knows at one step of an episode.

    Attributes:
        intro: the first observation, which states the task.
        observation: the current observation.
        inventory: what is carried, "" when nothing.
        admissible: commands that would do something now.
        history: all (observation, action) pairs so far, oldest first.
        suggestions: suggestions to follow; always () in evaluation.
        answers: all the agent's own responses so far, oldest first.
        draft: the agent's own first answer, which it is asked to reflect on; "" for none.
        max_shown: how many of the latest pairs there is room for; None for all that are asked for.
        distractors: what is shown with each observation so far, oldest first; () where nothing is.
    """

    intro: str
    observation: str
    inventory: str
    admissible: tuple[str, ...]
    history: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[str, ...] = ()
    answers: tuple[Action, ...] = ()
    draft: str = ""
    max_shown: int | None = None
    distractors: tuple[tuple[Distractor, ...], ...] = ()

    @property
    def observations(self) -> tuple[str, ...]:
        """All observations so far, oldest first."""
        return (*(saw for saw, _ in self.history), self.observation)

    @property
    def plan(self) -> str:
        """The text of the latest planning, "" where there was none."""
        plans = (answer.thought for answer in reversed(self.answers) if answer.tag == "planning")
        return next(plans, "")


def render_agent(
    view: View,
    form: PromptForm,
    history_length: int,
    wording: Wording,
    reasoning: Reasoning = "think",
) -> str:
    """Render the agent's prompt from its view of the episode.

    Args:
        view: the current step.
        form: "full" has the content of the papers' prompt, "compact" is for tiny models and ends
            with the opening tag of the response where there is but one.
        history_length: latest pairs shown (compact: actions only).
        wording: the suite's words.
        reasoning: "meta" asks for one of `META_TAGS` and shows the last plan and answers.
    """
    if view.max_shown is not None:
        history_length = min(history_length, view.max_shown)
    recent = view.history[-history_length:] if history_length else ()
    if form == "compact":
        return _render_compact(view, recent, reasoning, wording)
    suggestions = ""
    if view.suggestions:
        lines = "\n".join(f"- {suggestion}" for suggestion in view.suggestions)
        suggestions = f"Follow these guidelines strictly, in your reasoning too:\n{lines}\n"
    first = len(view.history) - len(recent)
    shown = "".join(
        f'\n- saw "{_line(seen_text(view, first + place, wording))}", did "{did}"'
        for place, (_, did) in enumerate(recent)
    )
    answers = "".join(f"\n- {_line(answer.response)}" for answer in view.answers[-NUM_ANSWERS:])
    return _agent_template("full", reasoning, wording).format(
        scene=wording.scene,
        task=wording.statement(view.intro),
        suggestions=suggestions,
        step_count=len(view.history),
        history=f"Your latest steps, oldest first:{shown}\n" if recent else "",
        step_number=len(view.history) + 1,
        observation=_line(seen_text(view, len(view.history), wording)),
        inventory=view.inventory or "nothing",
        admissible=", ".join(view.admissible),
        plan=_line(view.plan) or "none yet",
        answers=answers or " none yet",
        choice=wording.choice,
    )


def render_judge(
    problem: str,
    response: str,
    form: PromptForm,
    wording: Wording,
    judge_prompt: JudgePrompt = "gc",
) -> str:
    """Render the full or compact prompt that asks the agent to judge its own response to a prompt.

    Args:
        judge_prompt: the paper whose question is put; the compact form has but one.
    Source: GC appendix C; RM appendix A.4.
    """
    is_rm = form == "full" and judge_prompt == "rm"
    return _render_about("judge_rm" if is_rm else "judge", problem, response, form, wording)


def render_prediction(problem: str, response: str, form: PromptForm, wording: Wording) -> str:
    """Render the agent's prompt of prediction: what will the environment answer to a response?"""
    return _render_about("prediction", problem, response, form, wording)


def render_reflection(problem: str, response: str, wording: Wording) -> str:
    """Render the agent's prompt again with its first response to reflect on, in the full form."""
    template = _template("full_reflection", wording)
    return template.format(problem=problem, response=response, choice=wording.choice)


def render_reasoning(problem: str, action: str, wording: Wording) -> str:
    """Render the agent's full prompt with an action given: the reasoning before it is asked for."""
    template = _template("full_reasoning", wording)
    return template.format(problem=problem, action=action, work=wording.work)


def seen_text(view: View, position: int, wording: Wording) -> str:
    """Word an observation as the agent's full prompt shows it: with its distractors, if any.

    Args:
        position: of the step that it was seen at, from 0.
        wording: the suite's words.
    """
    if not view.distractors:
        return view.observations[position]
    text, task = view.observations[position], wording.statement(view.intro)
    return insert_sentences(text, view.distractors[position], task)


def observation_text(observation: str, form: PromptForm, wording: Wording) -> str:
    """Word an observation in the prompt's form, on one line, as a prediction is to word it."""
    if form == "full":
        return _line(observation)
    return "failed" if wording.is_refusal(observation) else wording.observation(observation)


def response_prefix(form: PromptForm, reasoning: Reasoning = "think") -> str:
    """The beginning of the agent's response that its prompt already ends with, "" for none."""
    return "<think>" if form == "compact" and reasoning == "think" else ""


def _render_about(
    question: str, problem: str, response: str, form: PromptForm, wording: Wording
) -> str:
    if form == "compact":
        # The agent's prompt ends with the tag that its response, given whole here, begins with.
        problem = problem.removesuffix("<think>").rstrip()
    return _template(f"{form}_{question}", wording).format(
        problem=problem,
        response=response,
        work=wording.work,
        world=wording.world,
        refusal=wording.refusals[0],
    )


def _render_compact(
    view: View, recent: tuple[tuple[str, str], ...], reasoning: Reasoning, wording: Wording
) -> str:
    observation = wording.observation(last_informative(view.observations, wording))
    if wording.is_refusal(view.observation):
        observation = f"failed ; {observation}"
    if view.distractors:
        observation = insert_words(observation, view.distractors[-1])
    suggestions = "".join(f" rule {_line(each).lower()}" for each in view.suggestions)
    answers = [f"{a.tag} {wording.action(a.text)}".strip() for a in view.answers[-NUM_ANSWERS:]]
    return _agent_template("compact", reasoning, wording).format(
        task=wording.task(view.intro),
        room=wording.room(view.observations),
        suggestions=suggestions,
        history=" , ".join(wording.action(did) for _, did in recent) or "nothing",
        inventory=wording.held(view.inventory) or "nothing",
        observation=observation,
        plan=_line(view.plan).lower() or "nothing",
        answers=" , ".join(answer or "nothing" for answer in answers) or "nothing",
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _agent_template(form: PromptForm, reasoning: Reasoning, wording: Wording) -> str:
    name = f"{form}_agent" if reasoning == "think" else f"{form}_agent_{reasoning}"
    return _template(name, wording)


def _template(name: str, wording: Wording) -> str:
    return wording.templates.get(name) or _read_template(name)


@cache
def _read_template(name: str) -> str:
    return (resources.files("declutch.agent") / "templates" / f"{name}.txt").read_text("utf-8")


def build_view(
    observations: Sequence[str],
    actions: Sequence[str],
    inventory: str,
    admissible: tuple[str, ...],
    suggestions: tuple[str, ...] = (),
    answers: Sequence[Action] = (),
) -> View:
    """Build the `View` for the agent's prompt from n actions and n + 1 observations."""
    return View(
        intro=observations[0],
        observation=observations[-1],
        inventory=inventory,
        admissible=admissible,
        history=tuple(zip(observations[:-1], actions, strict=True)),
        suggestions=suggestions,
        answers=tuple(answers),
    )


def view_at(episode: Episode, position: int, suggestions: tuple[str, ...] = ()) -> View:
    """The agent's `View` at a step of a played episode, which that step's prompt is made of."""
    step = episode.steps[position]
    steps = episode.steps[: position + 1]
    view = build_view(
        [s.observation for s in steps],
        [s.action.text for s in steps[:-1]],
        step.inventory,
        step.admissible,
        suggestions,
        [s.action for s in steps[:-1]],
    )
    added = tuple(s.distractors for s in steps)
    return replace(view, max_shown=step.num_shown, distractors=added if any(added) else ())


def last_informative(observations: Sequence[str], wording: Wording) -> str:
    """For an agent's prompt, the last observation that said something; the first when none does."""
    told = (text for text in reversed(observations) if not wording.is_refusal(text))
    return next(told, observations[0])
