"""What came of a run, on puzzles that it was not trained on."""

from eval.report.curves import curve
from eval.report.seen import Seen
from eval.report.sheets import Told
from tinyreason.halting import RULES


def of_test(key: str, form: str = "{:.1%}") -> Told:
    """A metric on the test puzzles."""

    def say(run: Seen) -> str | None:
        value = run.measure(key)
        return None if value is None else form.format(value)

    return say


def exact(run: Seen) -> str | None:
    keys = ("exact_accuracy", "exact_low", "exact_high")
    found, low, high = map(run.measure, keys)
    if found is None:
        return None
    interval = "" if low is None or high is None else f" [{low:.1%}, {high:.1%}]"
    return f"{found:.1%}{interval}"


def best(run: Seen) -> str | None:
    """While training, on held-out puzzles."""
    found = curve(run.log.held_out, "exact_accuracy")
    if not found["step"]:
        return None
    top = max(found["exact_accuracy"])
    step = found["step"][found["exact_accuracy"].index(top)]
    return f"{top:.1%} at step {step:,}"


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


def of_head(key: str, form: str = "{:.1%}") -> Told:
    """A metric of the halting head on the test puzzles, where one is trained."""
    return lambda run: of_test(key, form)(run) if learns(run) else None


def learns(run: Seen) -> bool:
    """Its halting rule trains a head."""
    halting = run.config.get("halting")
    rule = RULES.get(str(halting.get("rule"))) if isinstance(halting, dict) else None
    return rule is not None and rule.learns


HALTING: dict[str, Told] = {
    "Puzzles that the head stopped": of_head("halted"),
    "Segments until it stops": of_head("segments_to_halt", "{:.2f}"),
    "Exact where it stops": of_head("exact_when_halted"),
    "Precision: exact, of those stopped": of_head("halting_precision"),
    "Recall: stopped, of those exact": of_head("halting_recall"),
    "Right about the last answer": of_head("halting_accuracy"),
    "Exact at the exit": of_test("exact_at_exit"),
    "Recursions to the exit": of_test("recursions_to_exit", "{:.1f}"),
}
