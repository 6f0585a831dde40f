"""Versions of a run's suggestions: files of this version and of the one before are read alike."""

import json
from pathlib import Path

from declutch.ground.files import write_atomically
from declutch.runs.folder import RunFolder
from declutch.runs.versions import read_versions

THEME = {"source": "medoid", "left_out": "", "medoid": "look", "size": 1, "sentences": []}
VERSION = {"first_iteration": 1, "note": "", "num_advice": 1, "silhouette": None}


def test_the_words_of_version_0_1_are_read_as_todays(tmp_path: Path) -> None:
    then = {"rules": ["look"], "themes": [{**THEME, "rule": "look"}]}
    now = {"suggestions": ["look"], "themes": [{**THEME, "suggestion": "look"}]}
    for iteration, words in ((1, then), (2, now)):
        file = RunFolder(tmp_path).suggestions_path(iteration)
        write_atomically(file, json.dumps({"iteration": iteration, **VERSION, **words}))
    notes: list[str] = []
    old, new = read_versions(RunFolder(tmp_path), notes)
    assert (old.suggestions, old.themes) == (new.suggestions, new.themes)
    assert (new.suggestions, new.themes[0].suggestion) == (("look",), "look")
    assert notes == []
