"""The numbers of the report that stand alone, in words."""

from collections.abc import Iterator


def sentences(report: dict) -> Iterator[str]:
    """The numbers that stand alone, a line each."""
    yield from thinking(report)
    yield f"a low residual finds right answers: AUROC {pair(report, report['residual'])}"
    if "halting" in report:
        yield from halting(report)
    if "settling" in report:
        yield settling(report["settling"])
    if "retention" in report:
        kept = report["retention"]
        parts = [f"{percent(row['still_solved'])} after {row['segments']}" for row in kept["rows"]]
        solved = f"{kept['solved']} solved after {report['about']['at']} segments"
        yield f"of the {solved}, still solved: {', '.join(parts)}"


def thinking(report: dict) -> Iterator[str]:
    """Where it is best, where it begins to hurt, and where the error goes."""
    depth, about = report["depth"], report["about"]
    over = depth["overthinking"]
    best = f"best: {percent(over['best_exact'])} exact after segment {over['best_segment']}"
    yield f"{best}; {worse(over)}"
    if depth["finished_later"] is not None:
        wrong = f"{report['residual']['wrong']['as_trained']} puzzles wrong after {about['at']}"
        share = percent(depth["finished_later"])
        yield f"of the {wrong} segments, {share} are right at some later one"
    yield f"error: {law(depth['fit'])}"


def worse(over: dict) -> str:
    """Whether it overthinks."""
    if over["from"]:
        return f"it overthinks from segment {over['from']} (McNemar p = {over['p']:.2g})"
    if over["worse"]:
        few = f"worse in the last {over['worse']}, p = {over['p']:.2g}, too few to call it so"
        return f"it does not overthink ({few})"
    return "it does not overthink"


def law(fit: dict) -> str:
    """The law of the error with its standard errors."""
    if "why" in fit:
        return f"no fit; {fit['why']}"
    values, spread = fit["parameters"], fit["standard_errors"]
    e_inf, A, L = (f"{values[name]:.3g} ({spread[name]:.2g})" for name in ("e_inf", "A", "L"))
    edge = f"; at a bound: {', '.join(fit['at_a_bound'])}" if fit["at_a_bound"] else ""
    return f"{e_inf} + {A} exp(-{L} k), standard errors in (), R2 {fit['R2']:.3f}{edge}"


def halting(report: dict) -> Iterator[str]:
    """What the halting head knows."""
    found, about = report["halting"], report["about"]
    error = ", ".join(
        f"{number(found[f'calibration_error_{name}'])} after {k}" for name, k in moments(about)
    )
    yield f"a sure halting head finds right answers: AUROC {pair(report, found)}"
    yield f"calibration error of the halting head: {error}"
    stops = [
        f"{row['confidence'] or 'never'} {percent(row['exact'])} ({row['segments']:.2f})"
        for row in found["stopping"]
    ]
    yield f"stopped at a confidence of, exact (segments): {', '.join(stops)}"
    if not found["halted"]:
        yield "the head never halts"
        return
    false = f"{found['false_accepts']} of them wrongly ({percent(found['false_accept_rate'])})"
    mean = f"after {found['mean_segment']:.1f} segments on average"
    yield f"it halts {found['halted']} of {about['puzzles']} puzzles, {mean}, {false}"


def settling(found: dict) -> str:
    """The table of two by two in a line."""
    counts = {(row["way"], row["answer"]): row["count"] for row in found["table"]}
    ways = (
        f"{way} {counts[way, 'right']} right, {counts[way, 'wrong']} wrong"
        for way in ("settled", "wandering")
    )
    drift = f"a low late drift finds right answers: AUROC {number(found['auroc_of_drift'])}"
    return f"in the last {found['last_segments']} segments: {'; '.join(ways)}; {drift}"


def moments(about: dict) -> list[tuple[str, int]]:
    """The two segments at which such numbers are told, one if they are the same."""
    both = [("as_trained", about["at"]), ("at_the_end", about["segments"])]
    return both[:1] if about["at"] == about["segments"] else both


def pair(report: dict, found: dict) -> str:
    """AUROC at both, and what it rests on."""
    parts = []
    for name, k in moments(report["about"]):
        value = number(found[f"auroc_{name}"])
        parts.append(f"{value} after {k} ({found['wrong'][name]} wrong)")
    return ", ".join(parts)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
