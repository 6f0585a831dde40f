"""What the prompts of mathematics may show of another problem."""

from declutch.envs.excerpts import Excerpt
from declutch.envs.math.wording import MATH


def test_another_problem_distracts_in_the_full_prompt_alone() -> None:
    found = MATH.find_excerpts(('What is the  "GCD" of 12 and 18?', "The answer is wrong."))
    text = "Another problem, which is not asked here, reads: \"What is the 'GCD' of 12 and 18?\""
    assert list(found) == [Excerpt(text, "", frozenset(("gcd",)))]
    assert list(MATH.find_excerpts(())) == []
    assert list(MATH.find_excerpts(("x " * 61,))) == []
