"""How a network is trained, as frozen data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Optimizer = Literal["sgd", "nesterov", "adam", "adamw", "adadelta"]
Schedule = Literal["rung-annealed", "cosine", "one-cycle", "step", "constant"]


class Recipe(BaseModel):
    """Everything but the data and the layout that decides a training run; equal recipes and seeds train alike.

    Raises:
        pydantic.ValidationError: values outside their range, or, where each is within, that contradict each other; it
            lists all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    optimizer: Optimizer = "nesterov"
    """The update rule, as in torch.optim; `nesterov` is SGD with Nesterov momentum."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """Peak learning rate, per step."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    """Coefficient of the L2 penalty (decoupled for adamw), on every parameter."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd and nesterov; the others do not read it."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    """Images a step."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target spread evenly over the classes."""
    schedule: Schedule = "rung-annealed"
    """Course of the learning rate; `trainables.schedule` defines each."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Linear warm-up at the start of rung-annealed and cosine, epochs."""
    step_epochs: Annotated[int, Field(ge=1)] = 20
    """Epochs between two drops of the step schedule."""
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.333
    """What a drop of the step schedule multiplies the learning rate by."""
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 4
    """Random crop of the original size from an image padded by so many pixels; 0 is none."""
    padding_mode: Literal["zeros", "reflect"] = "reflect"
    """What the padding of the crop holds."""
    flip: bool = True
    """Horizontal flip with probability 1/2."""
    cutout: Annotated[int, Field(ge=0)] = 8
    """Side of a square set to the mean colour, pixels, centred anywhere in the image; 0 is none."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotation by a uniform angle up to this either way; 0 is none."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of convolutions and linear layers; auto is bfloat16 where the device computes it natively."""
    epochs: Annotated[int, Field(ge=1)] = 27
    """Passes over the training images at full budget."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of initial weights, order and augmentation."""

    @model_validator(mode="after")
    def _sense(self) -> Recipe:
        problems = []
        if self.optimizer == "nesterov" and self.momentum == 0:
            problems.append("momentum: 0 given with nesterov, which needs more than 0; raise it or use sgd")
        if self.schedule in ("cosine", "rung-annealed") and self.warmup_epochs >= self.epochs:
            problems.append(
                f"warmup_epochs: {self.warmup_epochs:g} given for {self.epochs} epochs; lower it below them"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
