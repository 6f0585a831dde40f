"""An environment of verifiers with several turns and two rewards: guess a number."""

import verifiers.v1 as vf


class NumberData(vf.TaskData):
    number: int


class GuessTask(vf.Task[NumberData, vf.State, vf.TaskConfig]):
    pass


class GuessEnvConfig(vf.EnvConfig):
    guesser: vf.AgentConfig = vf.AgentConfig()


class GuessEnv(vf.Env[GuessEnvConfig]):
    async def run(self, task, agents):
        told, guesses = "Guess a number below 10.", 0
        async with agents.guesser.interaction(task) as interaction:
            while guesses < 4:
                segment = await interaction.turn(told)
                if segment.terminated:
                    break
                guesses += 1
                guess = int(segment.last_reply)
                if guess == task.data.number:
                    told = ""
                    break
                told = "Too low." if guess < task.data.number else "Too high."
        interaction.trace.record_reward("found", float(not told))
        interaction.trace.record_reward("speed", 1 / guesses, 0.5)


class Numbers(vf.Taskset[GuessTask, vf.TasksetConfig]):
    def load(self):
        for number in (7, 3, 5):
            yield GuessTask(NumberData(name=f"number {number}", number=number))


__all__ = ["GuessEnv", "Numbers"]
