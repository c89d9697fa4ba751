"""What does training a loop cost? Three reports:

    python -m eval.cost model=trm task=sudoku scale=paper
    python -m eval.cost plan model=trm task=sudoku scale=paper device=h100
    python -m eval.cost chain B=32 T=32 D=256 K=6

The first measures the gradient schemes of a model, beside the closed form: it takes the words of
train.py, gradients=one_step,full,bptt, slots= (of a batch), repeats=3 and runs= (their loss against
FLOPs). The second says the hours and the memory of a run by arithmetic, and what micro_batch=auto
would choose: device= is a card from T4 to H200, or any with tflops= and memory=, utilisation=0.4 of
it; device=here trains for 20 seconds on this machine instead. `chain` measures the published
ablation chain: rows=V4,V4+stream and its sizes. Each takes json=FILE for the numbers and out=DIR
for numbers, table and picture (with the viz extra).
"""

import sys

from conf import help
from conf.cli import choose_scale, one_line
from eval.cost import chain_report, model_report
from eval.cost import model_plan as plan
from tinyreason.errors import UserError

REPORTS = {"chain": chain_report.chain, "plan": plan.plan, "models": model_report.models}
USAGES = (chain_report.USAGE, plan.USAGE, model_report.USAGE)


def main(words: list[str]) -> None:
    """The report of the first word, or `models` if that is an option already."""
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    for word in words[1:]:
        if "=" not in word:
            raise UserError(f"{word} is no option here; usage: {'; or '.join(USAGES)}")
    named = bool(words) and "=" not in words[0]
    name = words[0] if named else "models"
    if not words or name not in REPORTS:
        raise UserError(
            f"there is no report{f' {name}' if words else ' without words'}; "
            f"type {'; or '.join(USAGES)}"
        )
    if name != "chain":
        choose_scale()
        words = sys.argv[1:]
    REPORTS[name](words[named:])


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
