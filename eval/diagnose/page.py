"""The report as a page of HTML that needs nothing but itself."""

from collections.abc import Iterator

from eval import page
from eval.charts import NoPictures
from eval.diagnose import draw, report
from eval.diagnose.definitions import DEFINITIONS, TITLES
from eval.diagnose.words import moments, number, percent, sentences

STYLE = """
dl { margin: .6rem 0; font-size: .9rem; }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; max-width: 46rem; color: var(--soft); }
.wide { margin: .5rem 0 .9rem; }
summary { cursor: pointer; color: var(--accent); }
.row figure { flex: 1 1 20rem; min-width: 0; max-width: 30rem; }
figure svg { width: 100%; }
"""
LABELS = {
    "depth": "Accuracy and errors after each segment",
    "residual": "Relative residual after each segment",
    "halting": "Reliability of the halting head, and accuracy where it halts",
    "one_blank": "Accuracy on puzzles with one blank cell",
    "sensitivity": "Accuracy under disturbances",
    "tokens": "Token correlation after each segment",
    "difficulty": "Accuracy by difficulty",
}


def document(found: dict) -> str:
    """The whole page."""
    try:
        charts, missing = draw.svgs(found), ""
    except NoPictures as reason:
        charts, missing = {}, page.paragraph(f"No charts: {reason}.")
    parts = [*summary(found), missing]
    parts += [part(name, found, charts.get(name, [])) for name in TITLES if found.get(name)]
    if rows := report.left_out(found):
        parts.append(page.section("Left out", page.table(["part", "why"], rows)))
    return page.page(f"{found['about']['run']}: how it reasons and fails", parts, STYLE)


def summary(found: dict) -> Iterator[str]:
    """Who was examined, and the sentences of the terminal."""
    yield from (page.paragraph(line) for line in report.head(found) if line)
    items = "".join(f"<li>{page.text(line)}</li>" for line in sentences(found))
    yield f"<ul>{items}</ul>"


def part(name: str, found: dict, charts: list[str]) -> str:
    """Charts, tables, and what the numbers are."""
    figures = "".join(page.figure(svg, label=LABELS[name]) for svg in charts)
    pictures = f'<div class="row">{figures}</div>' if figures else ""
    return page.section(TITLES[name], pictures, *TABLES[name](found), definitions(name))


def definitions(name: str) -> str:
    """What the numbers of a part are, and whose."""
    rows = "".join(
        f"<dt>{page.text(one.name)}</dt><dd>{page.text(one.sentence)}. "
        f"<em>{page.text(one.source)}</em></dd>"
        for one in DEFINITIONS[name]
    )
    return f"<details><summary>What these numbers are</summary><dl>{rows}</dl></details>"


# ---- tables


def depth(found: dict) -> Iterator[str]:
    """The columns of the terminal as rows, which a phone can show."""
    rows = {name: values for name, values in report.curves(found).items() if name.endswith("%")}
    names = [name for name in rows if not name.startswith("one blank")]
    yield by_segment(found, {name: rows[name] for name in names})


def by_segment(found: dict, rows: dict[str, list]) -> str:
    """A line for each segment that the terminal shows."""
    lines = [
        [k, *(report.told(name, values[k - 1]) for name, values in rows.items())]
        for k in report.shown(found)
    ]
    return page.table(["segments", *rows], lines)


def residual(found: dict) -> Iterator[str]:
    rows = {n: v for n, v in report.curves(found).items() if n.startswith("residual")}
    yield by_segment(found, rows)
    yield page.table(["after", "AUROC", "wrong puzzles"], aurocs(found, "residual"))


def aurocs(found: dict, name: str) -> list[list]:
    """At the trained depth and at the end."""
    return [
        [k, number(found[name][f"auroc_{key}"]), found[name]["wrong"][key]]
        for key, k in moments(found["about"])
    ]


def halting(found: dict) -> Iterator[str]:
    head = found["halting"]
    yield page.table(
        ["after", "AUROC", "wrong puzzles", "calibration error"],
        [
            [*row, number(head[f"calibration_error_{key}"])]
            for row, (key, _) in zip(aurocs(found, "halting"), moments(found["about"]), strict=True)
        ],
    )
    rows = [
        [r["confidence"] or "never", percent(r["exact"]), f"{r['segments']:.2f}"]
        for r in head["stopping"]
    ]
    yield page.table(["stopped at confidence", "exact then", "segments"], rows)
    rows = [[r["segment"], r["count"], percent(r["accuracy"])] for r in head["by_segment"]]
    if rows:
        yield page.table(["first halts at", "puzzles", "right then"], rows)
    false = f"{head['false_accepts']} false accepts among {head['halted']} puzzles"
    yield page.paragraph(f"{false} that it calls finished.")


def settling(found: dict) -> Iterator[str]:
    one = found["settling"]
    rows = [[r["way"], r["answer"], r["count"], number(r["drift"])] for r in one["table"]]
    yield page.table(["way", "answer", "puzzles", "median late drift"], rows)
    of_settled = percent(one["spurious_of_settled"])
    spurious = f"Spurious: {percent(one['spurious'])} of all, {of_settled} of those settled."
    drift = f"AUROC of the late drift: {number(one['auroc_of_drift'])}."
    yield page.paragraph(f"{spurious} {drift}")


def one_blank(found: dict) -> Iterator[str]:
    yield by_segment(found, {"one blank, exact %": found["one_blank"]["exact"]})


def retention(found: dict) -> Iterator[str]:
    one = found["retention"]
    rows = [[row["segments"], percent(row["still_solved"])] for row in one["rows"]]
    solved = f"of {one['solved']} puzzles solved after {found['about']['at']} segments"
    yield page.table(["segments", "still solved"], rows, solved)


def sensitivity(found: dict) -> Iterator[str]:
    one = found["sensitivity"]
    rows = [[row["what"], percent(row["exact"]), percent(row["same"])] for row in one["rows"]]
    caption = f"after {one['segments']} segments"
    yield page.table(["what", "exact", "same answer"], rows, caption)


def tokens(found: dict) -> Iterator[str]:
    yield by_segment(found, {"token correlation": found["tokens"]["correlation"]})


def difficulty(found: dict) -> Iterator[str]:
    about = found["about"]
    keys = [f"exact_{name}" for name, _ in moments(about)]
    head = [f"exact after {k}" for _, k in moments(about)]
    for one in found["difficulty"]:
        rows = [
            [row["bucket"], row["puzzles"], *(percent(row[key]) for key in keys)]
            for row in one["rows"]
        ]
        yield page.table([one["by"], "puzzles", *head], rows)


def rules(found: dict) -> Iterator[str]:
    rows = {"exact %": found["depth"]["exact"]}
    yield by_segment(found, rows | {f"{name} %": values for name, values in found["rules"].items()})


def memory(found: dict) -> Iterator[str]:
    one = found["memory"]
    rows = [
        [
            row["split"],
            row["puzzles"],
            percent(row["exact"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
        ]
        for row in one["now"]
    ]
    yield page.table(["puzzles of", "puzzles", "exact", "95 % interval (Wilson)"], rows)
    if steps := one.get("checkpoints"):
        names = [name for name in steps[0] if name != "step"]
        lines = [[row["step"], *(percent(row[name]) for name in names)] for row in steps]
        yield page.table(["checkpoint", *names], lines)
    if one.get("log"):
        lines = [
            [row["step"], percent(row["train"]), percent(row["held_out"])] for row in one["log"]
        ]
        yield page.table(["step of the log", "training", "held out"], lines)


TABLES = {
    "depth": depth,
    "residual": residual,
    "halting": halting,
    "settling": settling,
    "one_blank": one_blank,
    "retention": retention,
    "sensitivity": sensitivity,
    "tokens": tokens,
    "difficulty": difficulty,
    "rules": rules,
    "memory": memory,
}
