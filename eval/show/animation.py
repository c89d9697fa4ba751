"""An animation of one puzzle being solved, segment by segment, as GIF."""

import io
from typing import Any

import numpy as np

from eval.picture import Image, beside, need_pillow, picture
from tinyreason.rules import Rules

FIRST, NEXT, LAST = 1400, 850, 3500  # milliseconds that a frame stays
COLOURS = 128


def gif(trace: dict[str, Any], rules: Rules) -> bytes:
    """The question, then the answer after each segment: what has changed is marked, what is wrong
    outlined where the truth is known, the shade is how sure each cell is.

    Raises UserError without Pillow.
    """
    need_pillow()
    ends = last_of_segments(trace)
    frames = [frame(trace, rules, None, None)]
    frames += [frame(trace, rules, a, b) for a, b in zip([None, *ends], ends, strict=False)]
    return joined(frames, [FIRST] + [NEXT] * (len(frames) - 2) + [LAST])


def last_of_segments(trace: dict[str, Any]) -> list[dict]:
    """The step at the end of each segment."""
    return list({step["segment"]: step for step in trace["steps"]}.values())


def frame(
    trace: dict[str, Any], rules: Rules, before: dict | None, step: dict | None
) -> "Image.Image":
    """One of them; without a step, the question."""
    question = np.array(trace["question"])
    if step is None:
        image = picture(rules, question, question, shown=everything(trace))
        return beside([("question", image)], " ")
    image = picture(
        rules,
        question,
        np.array(step["answer"]),
        truth_of(trace),
        before=None if before is None else np.array(before["answer"]),
        shade=np.array(step["shade"]) / 1000,
        shown=everything(trace),
    )
    last = trace["steps"][-1]["segment"]
    return beside([(f"segment {step['segment']} of {last}", image)], told(step))


def told(step: dict[str, Any]) -> str:
    """What is known of an answer, in a line."""
    parts = [name if kept else f"not {name}" for name, kept in step["checks"].items()]
    if step["exact"] is not None:
        parts.append("exact" if step["exact"] else "not exact")
    if step["halt"] is not None:
        parts.append(f"halting head {step['halt']:.1%}")
    return ", ".join(parts) or f"recursion {step['recursion']}"


def truth_of(trace: dict[str, Any]) -> np.ndarray | None:
    """(S,) the right tokens, 0 where the answer is not scored."""
    if trace["truth"] is None:
        return None
    return np.array(trace["truth"]) * np.array(trace["scored"])


def everything(trace: dict[str, Any]) -> list[np.ndarray]:
    """All grids that are shown, so that each frame is as large."""
    grids = [trace["question"], *(step["answer"] for step in trace["steps"])]
    return [
        np.array(grid) for grid in (grids if trace["truth"] is None else [*grids, trace["truth"]])
    ]


def joined(frames: list["Image.Image"], times: list[int]) -> bytes:
    """One file with one palette: that of the frames side by side."""
    strip = beside([("", one) for one in frames[:1] + frames[-8:]])
    palette = strip.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in frames]
    content = io.BytesIO()
    first, *others = few
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=others,
        duration=times,
        loop=0,
        optimize=False,
        disposal=1,
    )
    return content.getvalue()
