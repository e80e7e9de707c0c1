"""Problems as values: what a refusal says in words."""

from counterfoil.core.problems import MOST_IN_WORDS, Problem, Refused


def test_a_refusal_keeps_every_problem_and_words_for_the_first() -> None:
    refused = Refused([Problem("required", "is required", f"f{n}") for n in range(5_000)])
    assert len(refused.problems) == 5_000
    words = str(refused).splitlines()
    assert (words[0], len(words)) == ("f0: is required", MOST_IN_WORDS)
