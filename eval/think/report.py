"""The numbers of `eval.think` for people: a table, a summary, a picture."""

from pathlib import Path

from eval.charts import pyplot


def table(rows: list[dict], what: str, highlighted: str | None) -> str:
    """Markdown, one row a stage; `what`, chains or segments, is counted in its first column."""
    names = list(rows[0]["selectors"])
    heads = [f"**{name}**" if name == highlighted else name for name in names]
    columns = [what, "forward recursions", *heads]
    columns += ["recursions until first"] if "first" in names else []
    columns += ["oracle", "seconds"]
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [f"{row[what]}", f"{row['recursions']:,}"]
        cells += [cell(row["selectors"][name]) for name in names]
        if "first" in names:
            cells.append(f"{row['selectors']['first']['recursions_needed']:,.1f}")
        cells += [f"{row['oracle']['exact']:.1%}", f"{row['seconds']:,.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(found: dict) -> str:
    """Accuracy, interval and gap."""
    low, high, gap = (100 * found[key] for key in ("low", "high", "gap"))
    return f"{found['exact']:.1%} [{low:.1f}, {high:.1f}] gap {gap:.1f}"


def summary(row: dict, names: list[str], puzzles: int, against: str) -> list[str]:
    """What the most compute brings with each selector, against the baseline."""
    lines = []
    for name in names:
        found = row["selectors"][name]
        points = 100 * (found["gained"] - found["lost"]) / puzzles
        moved = f"{found['gained']} gained, {found['lost']} lost, McNemar p = {found['p']:.2g}"
        exact = f"{name}: exact {found['exact']:.1%}"
        lines.append(f"{exact}, {points:+.1f} points against {against} ({moved})")
    return lines


def draw(rows: list[dict], title: str, highlighted: str | None, path: Path) -> None:
    """Accuracy against forward recursions as PNG. Raises NoPictures without the viz extra."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    x = [row["recursions"] for row in rows]
    for i, name in enumerate(rows[0]["selectors"]):
        found = [row["selectors"][name] for row in rows]
        width = 3 if name == highlighted else 1.5
        exact = [one["exact"] for one in found]
        axis.plot(x, exact, marker=".", color=f"C{i}", linewidth=width, label=name)
        low, high = ([one[key] for one in found] for key in ("low", "high"))
        axis.fill_between(x, low, high, color=f"C{i}", alpha=0.1, linewidth=0)
        if "recursions_needed" in found[0]:
            needed = [one["recursions_needed"] for one in found]
            axis.plot(needed, exact, marker=".", color=f"C{i}", ls=":", label=f"{name}, stopped")
    oracle = [row["oracle"]["exact"] for row in rows]
    axis.plot(x, oracle, color="black", ls="--", label="oracle")
    axis.set(xscale="log", xlabel="forward recursions a puzzle", ylabel="exact accuracy")
    axis.set_title(title)
    axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
