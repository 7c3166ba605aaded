"""Synthetic records for the tests of results: real files, written through the public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results.record.record import Record

RECIPE: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "momentum": 0.9,
    "adaptive_clipping": 0.01,
    "batch_size": 128,
    "keep_last_batch": False,
    "label_smoothing": 0.1,
    "conv_init": "torch",
    "head_init": "xavier-normal",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "cosine_epochs": 5,
    "step_epochs": None,
    "step_factor": None,
    "patience_epochs": 3,
    "decay_norms": False,
    "gradient_clipping": 0.0,
    "muon_rate_factor": None,
    "lookahead_steps": 5,
    "lookahead_share": 0.5,
    "sam_radius": 0.0,
    "ema_decay": 0.99,
    "stochastic_depth": 0.0,
    "dropout": 0.1,
    "restart_epochs": None,
    "restart_factor": None,
    "cooldown_share": None,
    "milestones": None,
    "exponential_factor": None,
    "plateau_epochs": None,
    "plateau_metric": None,
    "first_image_size": 0,
    "resizing_share": None,
    "crop_padding": 4,
    "padding_mode": "reflect",
    "flip": True,
    "cutout": 0,
    "rotation_degrees": 0.0,
    "mixup_alpha": 0.2,
    "cutmix_alpha": 0.0,
    "mix_probability": 0.5,
    "mix_strength": "growing",
    "resized_crop": 0.0,
    "jitter_brightness": 0.0,
    "jitter_contrast": 0.0,
    "jitter_saturation": 0.0,
    "jitter_hue": 0.1,
    "flip_order": "alternating",
    "policy": "randaugment",
    "policy_operations": 2,
    "policy_magnitude": 9,
    "erasing": 0.25,
    "ricap_beta": 0.0,
    "precision": "auto",
    "keep_weights": "last",
    "epochs": 15,
}


def suggestion(
    trial: int, blocks: tuple[int, ...] = (1, 2), params: int = 1_000, extras: str = "", **recipe: Any
) -> dict[str, Any]:
    """The fields of a `suggested` event; `recipe` are fields of the recipe that differ from `RECIPE`."""
    channels = [16 * 2**stage for stage in range(len(blocks))]
    layout = {
        "blocks": list(blocks),
        "channels": channels,
        "strides": [1] + [2] * (len(blocks) - 1),
        "kernels": [3] * len(blocks),
        "stem_channels": 16,
        "skip_kernel": 1,
        "conv_bias": False,
        "in_channels": 3,
        "classes": 10,
        "block": "basic",
        "groups": 1,
        "squeeze": 0,
        "activation": "relu",
        "expansion": 0,
        "skip_pool": False,
        "stem_depth": 1,
        "stem_stride": 1,
    }
    layout_id = "-".join(map(str, blocks)) + "x" + "-".join(map(str, channels)) + extras
    return {
        "trial": trial,
        "layout": layout,
        "layout_id": layout_id,
        "params": params,
        "flops": 40 * params,
        "depth": 2 + 2 * sum(blocks),
        "recipe": RECIPE | recipe,
        "seed": 7 + trial,
        "proposal": {"stages": len(blocks), "width": 0.5, "bias": False, "optimizer": "sgd"},
    }


def report(trial: int, epoch: int, rung: int | None, val_accuracy: float = 0.5, **others: Any) -> dict[str, Any]:
    """The fields of a `report` event."""
    return {
        "trial": trial,
        "epoch": epoch,
        "rung": rung,
        "val_accuracy": val_accuracy,
        "val_loss": 1 - val_accuracy,
        "train_accuracy": val_accuracy,
        "train_loss": 0.5,
        "learning_rate": 0.1,
        "train_time_s": 2.0,
        "eval_time_s": 0.5,
        "session": 1,
        **others,
    }


def start_session(record: Record, session: int = 1, gpus: float = 0.5) -> None:
    """Appends a `session` event."""
    record.append("session", session=session, concurrency=2, pid=4242, resources={"cpu": 1, "gpu": gpus})


def run_trial(
    record: Record,
    trial: int,
    rungs: dict[int, float],
    status: str | None = "completed",
    *,
    error: str | None = None,
    val_loss: float | None = None,
    **fields_of_suggestion: Any,
) -> None:
    """Appends a trial that reports at each of `rungs` (epoch: accuracy), between them too, and ends as `status`."""
    record.append("suggested", **suggestion(trial, **fields_of_suggestion))
    record.append("started", trial=trial, session=1)
    numbers = {epoch: number for number, epoch in enumerate(sorted(rungs), start=1)}
    for epoch in range(1, max(rungs, default=0) + 1):
        # between rungs the rate is high and the accuracy tells nothing: 0.99 must never be shown
        fields = report(trial, epoch, numbers.get(epoch), rungs.get(epoch, 0.99))
        if val_loss is not None:
            fields["val_loss"] = val_loss
        record.append("report", **fields)
    if status is not None:
        record.append("ended", trial=trial, status=status, error=error)


def write_run(folder: Path) -> Path:
    """A run of six trials in every status, rungs at 2 and 4 epochs; returns its folder."""
    with Record(folder) as record:
        start_session(record)
        run_trial(record, 0, {2: 0.6, 4: 0.8}, blocks=(1, 2), params=10_000)
        run_trial(record, 1, {2: 0.7}, "stopped", blocks=(3, 1, 2), params=2_345_678, extras="+stem24+bias1")
        run_trial(record, 2, {2: 0.65, 4: 0.9}, blocks=(2, 2), params=20_000)
        run_trial(record, 3, {2: 0.1}, "diverged", blocks=(9, 1), error="loss is NaN at epoch 3")
        run_trial(record, 4, {}, "failed", blocks=(8, 1), error="OutOfMemoryError: [red]no memory[/red]\nframe 1")
        record.append("suggested", **suggestion(5, blocks=(7, 1)))
        record.append("evaluated", trial=2, epoch=4, test_accuracy=0.88, test_loss=0.4)
        record.append("session-ended", session=1, reason="done", wall_time_s=12.5)
    return folder
