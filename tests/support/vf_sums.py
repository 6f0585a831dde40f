"""A task set of verifiers as others write them: one question, one answer, one reward."""

import verifiers.v1 as vf


class SumData(vf.TaskData):
    answer: str


class SumTask(vf.Task[SumData, vf.State, vf.TaskConfig]):
    @vf.reward
    async def correct(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == self.data.answer)

    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class SumsConfig(vf.TasksetConfig):
    largest: int = 5


class Sums(vf.Taskset[SumTask, SumsConfig]):
    def load(self):
        for n in range(1, self.config.largest + 1):
            data = SumData(prompt=f"How much is {n} and {n}?", answer=str(2 * n))
            yield SumTask(data, self.config.task)


__all__ = ["Sums"]
