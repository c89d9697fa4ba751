"""What other trainers of this family call their options, and what they are here."""

KEYS = {
    "lr": "optim.lr",
    "learning_rate": "optim.lr",
    "lr_min_ratio": "optim.min_lr_ratio",
    "lr_warmup_steps": "optim.warmup",
    "warmup": "optim.warmup",
    "warmup_steps": "optim.warmup",
    "weight_decay": "optim.weight_decay",
    "beta1": "optim.betas=[...]",
    "beta2": "optim.betas=[...]",
    "grad_clip": "optim.clip",
    "optimizer": "optim",
    "puzzle_emb_lr": "optim.embedding_lr",
    "puzzle_emb_weight_decay": "optim.embedding_weight_decay",
    "arch": "model",
    "network": "model",
    "hidden_size": "model.width",
    "dim": "model.width",
    "num_heads": "model.heads",
    "n_heads": "model.heads",
    "num_layers": "model.layers",
    "L_layers": "model.layers",
    "H_cycles": "model.H_cycles",
    "L_cycles": "model.L_cycles",
    "pos_encodings": "model.positions",
    "mlp_t": "model.mix=mixer",
    "puzzle_emb_len": "model.prefix",
    "forward_dtype": "model.dtype",
    "dtype": "model.dtype",
    "halt_max_steps": "halting.segments",
    "N_sup": "halting.segments",
    "n_sup": "halting.segments",
    "halt_exploration_prob": "halting.exploration",
    "no_ACT_continue": "halting=correctness",
    "global_batch_size": "batch",
    "batch_size": "batch",
    "bs": "batch",
    "max_steps": "steps",
    "total_steps": "steps",
    "iterations": "steps",
    "ema_rate": "ema",
    "ema_decay": "ema",
    "loss_type": "loss",
    "eval_interval": "eval_every",
    "log_interval": "log_every",
    "save_interval": "save_every",
    "checkpoint_path": "name",
    "run_name": "name",
    "output_dir": "name",
    "project_name": "logger.project",
    "wandb": "logger=wandb",
    "load_checkpoint": "init",
    "checkpoint": "init",
    "pretrained": "init",
    "data_path": "task.source",
    "data_paths": "task.source",
    "dataset": "task",
    "data": "task.source",
    "num_aug": "task.copies",
    "subsample_size": "task.train_puzzles",
    "difficulty": "task.min_rating",
    "gpu": "device",
    "cuda": "device=cuda",
    "cpu": "device=cpu",
    "epochs": "steps",
    "num_epochs": "steps",
    "max_epochs": "steps",
    "config": "experiment",
}
EPOCHS = "one step gives each of batch= slots a segment, and a puzzle stays up to halting.segments="


def answer(word: str) -> str | None:
    """What a word of another trainer is here; None for any other word.

    `lr=1e-3`, `--lr=1e-3` and `--lr` are asked alike.
    """
    key, equals, value = word.lstrip("-+~").partition("=")
    key = key.replace("-", "_")
    if key not in KEYS:
        return None
    here = KEYS[key]
    epochs = "epoch" in key  # another unit
    typed = f"{here}={value}" if equals and value and "=" not in here and not epochs else here
    shown = typed if "=" in typed else f"{typed}=..."
    extra = f" ({EPOCHS})" if epochs else ""
    return f"{word.split('=')[0].lstrip('+~')} is {shown} here{extra}"
