import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[1] / "oracles"))
# A busy machine is not a failure, and neither is another draw of examples.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
