"""Judging as an environment of one step, so that the agent's machinery plays it unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from declutch.agent.parse import parse_verdict
from declutch.agent.prompt import View
from declutch.config import AgentConfig
from declutch.envs.text_env import Observation, Transition
from declutch.judge.questions import Question
from declutch.records import Action, Completion, Role, TaskId
from declutch.rollout.collect import Play
from declutch.rollout.engine import Request, SamplingParams
from declutch.rollout.speaker import Codec

SUITE = "judge"


class JudgeEnv:
    """Asks one question; the answer "0" or "1" is worth 1 if it is the label, else 0."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self._current: Question | None = None

    def reset(self, task: TaskId) -> Observation:
        self._current = self._questions[task.index]
        return Observation(self._current.prompt, ("0", "1"))

    def step(self, action: str) -> Transition:
        if self._current is None:
            raise RuntimeError("step before reset")
        is_right = action == str(self._current.label)
        reward = float(is_right)
        return Transition(Observation("", ()), reward, is_right, True, reward)

    def close(self) -> None:
        self._current = None


class Judge:
    """The model as a critic of its own steps."""

    def __init__(self, codec: Codec, config: AgentConfig, max_tokens: int) -> None:
        self.codec = codec
        self.max_tokens = max_tokens
        self._forced: tuple[tuple[int, int], ...] = ()
        names = ("</think>", "<answer>", "\\boxed{0}", "\\boxed{1}", "</answer>", "<advise>")
        tags = codec.single_ids(names) if config.constrain_actions else None
        if tags is not None:
            self._forced = (
                (tags["</think>"], tags["<answer>"]),
                (tags["\\boxed{0}"], tags["</answer>"]),
                (tags["\\boxed{1}"], tags["</answer>"]),
                (tags["</answer>"], tags["<advise>"]),
            )

    def request(self, view: View) -> Request:
        return Request(self.codec.encode_prompt(view.observation))

    def sampling(self, temperature: float) -> SamplingParams:
        return SamplingParams(
            temperature=temperature,
            max_tokens=self.max_tokens,
            stop_ids=self.codec.stop_ids("</advise>"),
            forced_after=self._forced,
            has_ended=self.codec.end_test("</advise>"),
        )

    def read(self, completion: Completion, admissible: tuple[str, ...]) -> Action:
        verdict = parse_verdict(self.codec.decode(completion.token_ids, Role.JUDGE))
        return Action(
            text="" if verdict.value is None else str(verdict.value),
            thought=verdict.thought,
            tag="think" if verdict.thought else "",
            is_valid=verdict.is_valid,
            is_admissible=verdict.value is not None,
        )


def judge_plays(questions: Sequence[Question], num_judgments: int) -> list[Play]:
    """Every question `num_judgments` times; the question is the group."""
    tasks = [TaskId(SUITE, "train", i, f"question {i}") for i in range(len(questions))]
    return [Play(task, task.index) for task in tasks for _ in range(num_judgments)]
