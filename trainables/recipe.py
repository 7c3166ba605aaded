"""How a network is trained, as frozen data."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Optimizer = Literal["sgd", "nesterov", "adam", "adamw", "adadelta", "muon"]
Policy = Literal["none", "autoaugment", "randaugment", "trivialaugment"]
Schedule = Literal[
    "rung-annealed",
    "cosine",
    "cosine-step",
    "cosine-restarts",
    "linear",
    "warmup-stable-decay",
    "one-cycle",
    "step",
    "constant",
]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

COSINES: Final = ("cosine", "cosine-step")
MIXES: Final = ("mixup_alpha", "cutmix_alpha", "ricap_beta")
WARMED: Final = ("rung-annealed", *COSINES, "cosine-restarts", "linear", "warmup-stable-decay")
STEPPED: Final = ("step", "cosine-step")
READ_WITH: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "momentum": ("optimizer", ("sgd", "nesterov", "muon")),
    "warmup_epochs": ("schedule", WARMED),
    "cosine_epochs": ("schedule", COSINES),
    "step_epochs": ("schedule", STEPPED),
    "step_factor": ("schedule", STEPPED),
    "decay_norms": ("weight_decay", ()),
    "muon_rate_factor": ("optimizer", ("muon",)),
    "lookahead_share": ("lookahead_steps", ()),
    "restart_epochs": ("schedule", ("cosine-restarts",)),
    "restart_factor": ("schedule", ("cosine-restarts",)),
    "cooldown_share": ("schedule", ("warmup-stable-decay",)),
    "padding_mode": ("crop_padding", ()),
    "policy_operations": ("policy", ("randaugment",)),
    "policy_magnitude": ("policy", ("randaugment",)),
}
"""For each field that not every recipe reads, the field and its values that a recipe reads it with; none: all but 0."""


USUAL_RATE: Final[dict[str, float]] = {"adam": 0.001, "adamw": 0.001}
"""Learning rates of the optimizers that take much smaller ones than SGD, whose rate is the default; torch's own."""


def reads(name: str, value: Any) -> bool:
    """Whether a recipe reads the field `name` of `READ_WITH` when the field that it depends on has `value`."""
    values = READ_WITH[name][1]
    return value in values if values else value > 0


class Recipe(BaseModel):
    """How a network is trained: with a layout, a number of epochs, a seed and a data set it decides a training.

    Raises:
        pydantic.ValidationError: values outside their range, or, where each is within, that contradict each other; it
            lists all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    optimizer: Optimizer = "nesterov"
    """The update rule, as in torch.optim; nesterov is SGD with its momentum, muon has nesterov for the rest."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """Peak learning rate, per step."""
    weight_decay: NonNegative = 5e-4
    """Coefficient of the L2 penalty (decoupled for adamw and muon's convolutions), on what `decay_norms` says."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd, nesterov and muon, the highest where one-cycle moves it; the others do not read it."""
    adaptive_clipping: NonNegative = 0.0
    """Largest ratio of a unit's gradient to its weights, norms both, outside the linear layer; 0 does not clip."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    """Images a step."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target spread evenly over the classes."""
    head_init: Literal["uniform", "xavier-normal"] = "uniform"
    """Initial weights of the linear layer: uniform within 1/sqrt(features), or Xavier-normal."""
    schedule: Schedule = "rung-annealed"
    """Course of the learning rate; `trainables.schedule` defines each."""
    warmup_epochs: NonNegative = 0.5
    """Linear warm-up at the start of every schedule but one-cycle, step and constant, epochs."""
    cosine_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which cosine and cosine-step fall to zero, rise again, and so on; 0 is one fall over all epochs."""
    step_epochs: Annotated[int, Field(ge=1)] = 20
    """Epochs between two drops of step and cosine-step."""
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.333
    """What a drop of step and cosine-step multiplies the learning rate by."""
    patience_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs without a validation accuracy above the best so far after which the training ends; 0 never ends it."""
    decay_norms: bool = True
    """Whether weight decay is on norms and biases too; false leaves it to convolutions and the linear layer."""
    gradient_clipping: NonNegative = 0.0
    """Largest norm of the gradient of all parameters together; 0 does not clip."""
    muon_rate_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """Muon's learning rate, of the convolutions, as a multiple of `learning_rate`, which the rest has."""
    lookahead_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of an epoch after which the weights go back towards those before these steps; 0 never goes back."""
    lookahead_share: Share = 0.5
    """Share of the way of so many steps that is kept."""
    sam_radius: NonNegative = 0.0
    """Distance to the weights where sharpness-aware minimisation takes the gradient, in a second pass; 0 is none."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight, at a step, of the weights' average so far, which is validated and tested; 0 does not average."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that an image skips the last block in training, less for those before, linear in depth; 0 never."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that an image's feature is zero in front of the linear layer in training."""
    restart_epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs of the first fall of cosine-restarts."""
    restart_factor: Annotated[int, Field(ge=1, le=100)] = 2
    """What each fall of cosine-restarts is longer by than the one before."""
    cooldown_share: Share = 0.2
    """Share of the epochs, the last ones, in which warmup-stable-decay falls to zero."""
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 4
    """Random crop of the original size from an image padded by so many pixels; 0 is none."""
    padding_mode: Literal["zeros", "reflect"] = "reflect"
    """What the padding of the crop holds."""
    flip: bool = True
    """Horizontal flip of half of the images an epoch."""
    cutout: Annotated[int, Field(ge=0)] = 8
    """Side of a square set to the mean colour, pixels, centred anywhere in the image; 0 is none."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotation by a uniform angle up to this either way; 0 is none."""
    mixup_alpha: NonNegative = 0.0
    """Both parameters of the Beta distribution of a batch's mixing weight, images and labels; 0 does not mix."""
    cutmix_alpha: NonNegative = 0.0
    """Both parameters of the Beta distribution of the share a batch's images keep of themselves; 0 does not mix."""
    flip_order: Literal["random", "alternating"] = "random"
    """Which images an epoch flips: each with probability 1/2, or half of them, drawn once, and then in turn."""
    policy: Policy = "none"
    """Operations of colour and shape on an image after crop and flip; autoaugment is the policy found on CIFAR-10."""
    policy_operations: Annotated[int, Field(ge=1, le=16)] = 2
    """Operations of randaugment on an image, one after another."""
    policy_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of randaugment's operations, of 30."""
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that 2 % to 33 % of an image, a rectangle inside it, are set to the mean colour."""
    ricap_beta: NonNegative = 0.0
    """Both parameters of the Beta distributions of where four images of a batch meet in one; 0 does not mix."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of convolutions and linear layers; auto is bfloat16 where the device computes it natively."""
    keep_weights: Literal["last", "best"] = "last"
    """Whose weights a trial is evaluated with: its last epoch's, or those of the best validation accuracy."""

    @property
    def unread(self) -> frozenset[str]:
        """Names of the fields that change nothing under this recipe's other fields."""
        return frozenset(name for name, (other, _) in READ_WITH.items() if not reads(name, getattr(self, other)))

    def canonical(self) -> Recipe:
        """The recipe with every unread field at its default: recipes that train alike by their fields are equal."""
        unread = self.unread
        return Recipe(**self.model_dump(exclude=set(unread))) if unread else self

    def first_fall(self, epochs: int) -> int:
        """Epochs after which the learning rate has fallen for the first time, of `epochs` in all."""
        period = self.cosine_epochs if self.schedule in COSINES else 0
        if self.schedule == "cosine-restarts":
            period = self.restart_epochs
        return min(period or epochs, epochs)

    def problems_over(self, epochs: int) -> list[str]:
        """What contradicts a training of `epochs` epochs, as sentences."""
        falling = self.first_fall(epochs)
        if self.schedule in WARMED and self.warmup_epochs >= falling:
            return [f"warmup_epochs: {self.warmup_epochs:g} given for {falling} epochs; lower it below them"]
        left = (1 - self.cooldown_share) * epochs
        if self.schedule != "warmup-stable-decay" or self.warmup_epochs <= left:
            return []
        share = f"of which cooldown_share {self.cooldown_share:g} leaves {left:g}"
        return [f"warmup_epochs: {self.warmup_epochs:g} given for {epochs} epochs, {share}; lower one of them"]

    @model_validator(mode="after")
    def _sense(self) -> Recipe:
        problems = []
        if self.optimizer in ("nesterov", "muon") and self.momentum == 0:
            problems.append(f"momentum: 0 given with {self.optimizer}, which needs more than 0; raise it or use sgd")
        if self.gradient_clipping and self.adaptive_clipping:
            problems.append(
                f"gradient_clipping: {self.gradient_clipping:g} given with adaptive_clipping "
                f"{self.adaptive_clipping:g}, and a gradient is clipped one way; set one of them to 0"
            )
        if self.patience_epochs and self.schedule == "rung-annealed":
            problems.append(
                f"patience_epochs: {self.patience_epochs} given with rung-annealed, whose accuracies between rungs are "
                "not annealed; set it to 0 or use another schedule"
            )
        if self.keep_weights == "best" and self.schedule == "rung-annealed":
            problems.append(
                "keep_weights: best given with rung-annealed, whose accuracies between rungs are not annealed; "
                "set it to last or use another schedule"
            )
        first, *others = [(name, getattr(self, name)) for name in MIXES if getattr(self, name)] or [("", 0.0)]
        if others:
            problems.append(
                f"{first[0]}: {first[1]:g} given with {' and '.join(f'{name} {value:g}' for name, value in others)}, "
                f"and a batch is mixed one way; set {'one' if len(others) == 1 else 'two'} of them to 0"
            )
        if self.flip_order == "alternating" and not self.flip:
            problems.append(
                "flip_order: alternating given, but flip is false; set flip to true or flip_order to random"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
