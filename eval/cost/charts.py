"""The pictures: what a row is made of, and what a loss has cost."""

from pathlib import Path

from eval.charts import pyplot

UNITS = {1e15: "10^15", 1e12: "10^12", 1e9: "10^9", 1e6: "10^6", 1: ""}


def stacks(path: Path, rows: dict[str, list[dict[str, int]]], of: str) -> None:
    """FLOPs (`of` what) and bytes, a bar made of parts a row.

    `rows`: name -> [FLOPs by part, bytes by part].
    """
    plt = pyplot()
    figure, axes = plt.subplots(
        1, 2, figsize=(12, 1.5 + 0.35 * len(rows)), sharey=True, layout="constrained"
    )
    for axis, which, unit, scale in (
        (axes[0], 0, "FLOPs", None),
        (axes[1], 1, "MiB at the peak", 2**20),
    ):
        scale = scale or max(
            s for s in UNITS if s <= max(sum(parts[0].values()) for parts in rows.values())
        )
        left = dict.fromkeys(rows, 0.0)
        for i, part in enumerate(
            dict.fromkeys(part for parts in rows.values() for part in parts[which])
        ):
            width = {name: parts[which].get(part, 0) / scale for name, parts in rows.items()}
            axis.barh(
                list(rows),
                list(width.values()),
                left=list(left.values()),
                color=f"C{i}",
                label=part,
            )
            left = {name: left[name] + width[name] for name in rows}
        axis.set_xlabel(f"{UNITS.get(scale, '')} {unit}{f', {of}' if which == 0 else ''}".strip())
        axis.legend(fontsize="small")
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def losses(path: Path, curves: dict[str, dict[str, list[float]]]) -> None:
    """Loss against FLOPs, a line a run. `curves`: name -> {"flops": [...], "loss": [...]}."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, curve in curves.items():
        axis.plot(curve["flops"], curve["loss"], marker=".", label=name)
    axis.set(xlabel="FLOPs of matrix products", ylabel="training loss", xscale="log", yscale="log")
    axis.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
