"""What came of a run, on puzzles that it was not trained on."""

from eval.report.seen import Seen
from eval.report.sheets import Told


def of_test(key: str, form: str = "{:.1%}") -> Told:
    """A metric on the test puzzles."""

    def say(run: Seen) -> str | None:
        value = run.test.get(key)
        return None if value is None else form.format(value)

    return say


def exact(run: Seen) -> str | None:
    found = run.test
    if "exact_accuracy" not in found:
        return None
    if found.get("exact_low") is None or found.get("exact_high") is None:
        return f"{found['exact_accuracy']:.1%}"
    return "{exact_accuracy:.1%} [{exact_low:.1%}, {exact_high:.1%}]".format(**found)


def best(run: Seen) -> str | None:
    """While training, on held-out puzzles."""
    found = [one for one in run.log.held_out if one.get("exact_accuracy") is not None]
    if not found:
        return None
    top = max(found, key=lambda one: one["exact_accuracy"])
    return f"{top['exact_accuracy']:.1%} at step {top['step']:,}, of {top['puzzles']:,} puzzles"


RESULT: dict[str, Told] = {
    "Exact on test [95 %]": exact,
    "Test puzzles": of_test("puzzles", "{:,}"),
    "Blank cells right": of_test("blank_accuracy"),
    "All cells right": of_test("cell_accuracy"),
    "Answers that keep the rules": of_test("valid_rate"),
    "Shortest paths": of_test("optimal_rate"),
    "Loss on test": of_test("answer_loss", "{:.3g}"),
    "Segments in the evaluation": of_test("segments", "{:.3g}"),
    "pass@1": of_test("pass@1"),
    "pass@2": of_test("pass@2"),
    "Best on held-out puzzles": best,
}
HALTING: dict[str, Told] = {
    "Puzzles that the head stopped": of_test("halted"),
    "Segments until it stops": of_test("segments_to_halt", "{:.2f}"),
    "Exact where it stops": of_test("exact_when_halted"),
    "Precision: exact, of those stopped": of_test("halting_precision"),
    "Recall: stopped, of those exact": of_test("halting_recall"),
    "Right about the last answer": of_test("halting_accuracy"),
    "Exact at the exit": of_test("exact_at_exit"),
    "Recursions to the exit": of_test("recursions_to_exit", "{:.1f}"),
}
