"""What a user should know of a run that does not learn, or cannot."""

from conf.schema import Config

STILL = 0.98  # of the first loss: no progress worth the name


def cannot_learn(config: Config) -> list[str]:
    """What keeps a run from learning anything, or from showing it, whatever its data."""
    notes, optim = [], config.optim
    muon = optim.matrices == "muon"
    if not optim.lr:
        what = "embeddings and heads" if muon else "the weights"
        notes.append(f"optim.lr=0: {what} will not move")
    if muon and not optim.muon_lr:
        notes.append("optim.muon_lr=0: the matrices of the cores will not move")
    if optim.warmup >= config.steps:
        told = f"optim.warmup={optim.warmup} is not shorter than steps={config.steps}"
        notes.append(f"{told}: the learning rate never reaches optim.lr={optim.lr:g}")
    most, examined = config.halting.segments, config.eval.segments
    if examined is not None and examined < most:
        told = f"eval.segments={examined} is fewer than halting.segments={most}"
        notes.append(
            f"{told}: an evaluation does not go as deep as training; use eval.segments=null"
        )
    return notes


def does_not_learn(losses: list[float]) -> str | None:
    """A hint where the loss of the log lines is what it was at first; None where it has moved."""
    if len(losses) < 2 or losses[-1] <= STILL * losses[0]:
        return None
    causes = "a learning rate that is too low or too high (optim.lr=, optim.warmup=), answers that "
    causes += "do not follow from the questions, too small a model or too few recursions"
    moved = f"the loss has not moved ({losses[0]:.3f}, now {losses[-1]:.3f})"
    return f"hint: {moved}; usual causes: {causes}"


def apart(config: Config, world: int) -> list[str]:
    """What the ranks do not do as one would."""
    if world == 1:
        return []
    notes = [f"{world} ranks, {config.batch // world} slots each"]
    mixes = vars(config.model).get("balance") == "loss"
    if mixes or vars(config.gradient).get("tolerance"):
        what = "model.balance=loss" if mixes else "gradient.tolerance"
        notes.append(f"{what} looks at the slots of a rank, so another number of ranks differs")
    return notes
