"""A task set of verifiers whose tasks need a tool, which no text carries."""

import verifiers.v1 as vf


class Clock(vf.Toolset[vf.ToolsetConfig]):
    TOOL_PREFIX = "clock"

    @vf.tool
    def look(self) -> str:
        """Say what time it is."""
        return "noon"


class TimeTask(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):
    @classmethod
    def toolsets(cls, config):
        return [Clock(vf.ToolsetConfig())]


class Times(vf.Taskset[TimeTask, vf.TasksetConfig]):
    def load(self):
        return [TimeTask(vf.TaskData(prompt="What time is it?"))]


__all__ = ["Times"]
