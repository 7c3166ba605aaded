"""How a network is trained, as frozen data."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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
    "milestones",
    "exponential",
    "plateau",
    "constant",
]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Factor = Annotated[float, Field(gt=0, le=1)]


def _epochs(given: Any) -> str:
    """Ascending epochs without spaces."""
    if isinstance(given, str) and re.fullmatch(r"\s*\d{1,6}\s*(,\s*\d{1,6}\s*)*", given):
        epochs = [int(epoch) for epoch in given.split(",")]
        if epochs[0] >= 1 and epochs == sorted(set(epochs)):
            return ",".join(map(str, epochs))
    raise ValueError("use ascending epochs in one string, such as '81,151'")


COSINES: Final = ("cosine", "cosine-step")
MIXES: Final = ("mixup_alpha", "cutmix_alpha", "ricap_beta")
WARMED: Final = ("rung-annealed", *COSINES, "cosine-restarts", "linear", "warmup-stable-decay")
READ_WITH: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "momentum": (("optimizer",), ("sgd", "nesterov", "muon")),
    "warmup_epochs": (("schedule",), WARMED),
    "cosine_epochs": (("schedule",), COSINES),
    "step_epochs": (("schedule",), ("step", "cosine-step")),
    "step_factor": (("schedule",), ("step", "cosine-step", "milestones", "plateau")),
    "decay_norms": (("weight_decay",), ()),
    "muon_rate_factor": (("optimizer",), ("muon",)),
    "lookahead_share": (("lookahead_steps",), ()),
    "restart_epochs": (("schedule",), ("cosine-restarts",)),
    "restart_factor": (("schedule",), ("cosine-restarts",)),
    "cooldown_share": (("schedule",), ("warmup-stable-decay",)),
    "milestones": (("schedule",), ("milestones",)),
    "exponential_factor": (("schedule",), ("exponential",)),
    "plateau_epochs": (("schedule",), ("plateau",)),
    "plateau_metric": (("schedule",), ("plateau",)),
    "mix_probability": (MIXES, ()),
    "mix_strength": (MIXES, ()),
    "resizing_share": (("first_image_size",), ()),
    "padding_mode": (("crop_padding",), ()),
    "policy_operations": (("policy",), ("randaugment",)),
    "policy_magnitude": (("policy",), ("randaugment",)),
}
"""For each field that only some recipes read, other fields and their values, of which one is needed; (): all but 0."""


USUAL_RATE: Final[dict[str, float]] = {"adam": 0.001, "adamw": 0.001}
"""torch's default learning rates of optimizers that need much smaller ones than SGD, for which our default is."""


def reads(name: str, value: Any) -> bool:
    """Whether a recipe reads the field `name` of `READ_WITH` when a field that it depends on has `value`."""
    values = READ_WITH[name][1]
    return value in values if values else value > 0


class Recipe(BaseModel):
    """How a network is trained; together with a layout, epochs, a seed and a data set it determines a training.

    Raises:
        pydantic.ValidationError: values are outside their ranges or, if none is, contradict each other; it lists all
            problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    optimizer: Optimizer = "nesterov"
    """Update rule, as in torch.optim; nesterov is SGD with Nesterov momentum, muon is Muon for convolutions and
    nesterov for the rest."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """Peak learning rate; the schedule sets the rate of every step."""
    weight_decay: NonNegative = 5e-4
    """Coefficient of the L2 penalty; decoupled from the gradient for adamw and for muon's convolutions."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum; under one-cycle its highest value."""
    adaptive_clipping: NonNegative = 0.0
    """Largest ratio of a unit's gradient norm to its weight norm, outside the linear layer; 0 turns clipping off."""
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    """Images per step."""
    keep_last_batch: bool = False
    """Whether the images that are left over after an epoch's full batches are a smaller batch, if there are at least
    two; false leaves them out of the epoch."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target that is spread evenly over the classes."""
    conv_init: Literal["kaiming-fan-out", "kaiming-fan-in", "torch"] = "kaiming-fan-out"
    """Initial weights of the convolutions: Kaiming normal by their outputs or their inputs, with biases of zero; or
    torch's default, which draws weights and biases uniformly within 1/sqrt(inputs)."""
    head_init: Literal["uniform", "xavier-normal", "xavier-normal-relu", "kaiming-fan-in", "torch"] = "uniform"
    """Initial weights of the linear layer: uniform within 1/sqrt(features); Xavier normal, or that times sqrt(2); or
    Kaiming normal by its inputs; with biases of zero. Torch's default is the uniform one, also for biases."""
    schedule: Schedule = "rung-annealed"
    """How the learning rate changes; rung-annealed brings it to zero at every rung, so that stopped trials compare
    fairly."""
    warmup_epochs: NonNegative = 0.5
    """Epochs of linear warm-up at the start of training."""
    cosine_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the rate falls to zero, then rises for as long, and so on; 0 is one fall over all epochs."""
    step_epochs: Annotated[int, Field(ge=1)] = 20
    """Epochs between two drops of the learning rate."""
    step_factor: Factor = 0.333
    """Factor by which a drop multiplies the learning rate."""
    patience_epochs: Annotated[int, Field(ge=0)] = 0
    """Early stopping: training ends after this many epochs without a new best validation accuracy; 0 turns it off."""
    decay_norms: bool = True
    """Whether weight decay also applies to norms and biases; false limits it to convolutions and the linear layer."""
    gradient_clipping: NonNegative = 0.0
    """Largest norm of the gradient of all parameters together; 0 turns clipping off."""
    muon_rate_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """Learning rate of the convolutions as a multiple of learning_rate, which all other parameters use."""
    lookahead_steps: Annotated[int, Field(ge=0)] = 0
    """Lookahead: steps after which the weights move part of the way back to where they started from; 0 turns it off."""
    lookahead_share: Share = 0.5
    """Share of the distance covered in those steps that Lookahead keeps."""
    sam_radius: NonNegative = 0.0
    """Sharpness-aware minimization: a second pass takes the gradient this far from the weights; 0 turns it off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the exponential moving average of the weights, which is what is validated and tested; 0 turns it off."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that training skips an image's last block, falling linearly towards the first; 0 turns it off."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a feature in front of the linear layer is zeroed in training; 0 turns it off."""
    restart_epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs before the first restart."""
    restart_factor: Annotated[int, Field(ge=1, le=100)] = 2
    """Factor by which each cycle is longer than the one before it."""
    cooldown_share: Share = 0.2
    """Share of the epochs, at the end of training, in which the learning rate falls to zero."""
    milestones: Annotated[str, BeforeValidator(_epochs)] = "82,123"
    """Numbers of epochs after each of which the learning rate drops, ascending, in one string; those of the ResNet
    paper by default."""
    exponential_factor: Factor = 0.95
    """Factor by which every epoch multiplies the learning rate."""
    plateau_epochs: Annotated[int, Field(ge=0)] = 10
    """Epochs without an improvement that are accepted; the next one drops the learning rate."""
    plateau_metric: Literal["loss", "accuracy"] = "loss"
    """The validation result that has to improve, by at least 1/10,000 of its best value so far."""
    first_image_size: Annotated[int, Field(ge=0)] = 0
    """Progressive resizing: shorter side in pixels of the images in the first steps of the training, after each rung
    again under rung-annealed; 0 trains on images of full size throughout. Validation is at full size."""
    resizing_share: Share = 0.5
    """Share of the training, or of the epochs between two rungs under rung-annealed, in which images grow to full
    size, in up to four sizes."""
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 4
    """Pixels by which an image is padded before a random crop to its original size; 0 turns cropping off."""
    padding_mode: Literal["zeros", "reflect"] = "reflect"
    """What fills the padding of the crop: zeros, or the image reflected at its border."""
    flip: bool = True
    """Whether half of the images are flipped horizontally in each epoch."""
    cutout: Annotated[int, Field(ge=0)] = 8
    """Side in pixels of a square set to the mean colour, centred anywhere in the image; 0 turns it off."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation in either direction, degrees; the angle is drawn uniformly. 0 turns it off."""
    mixup_alpha: NonNegative = 0.0
    """Mixup: both parameters of the Beta distribution that a batch's mixing weight is drawn from; 0 turns it off."""
    cutmix_alpha: NonNegative = 0.0
    """CutMix: both parameters of the Beta distribution of the area that an image keeps; 0 turns it off."""
    mix_probability: Factor = 1.0
    """Probability that a batch is mixed at all."""
    mix_strength: Literal["constant", "growing", "fading"] = "constant"
    """How strongly images are mixed over the training: constant, growing linearly from 0 to the full strength, or
    fading from it to 0; under rung-annealed from one rung to the next."""
    resized_crop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Random resized crop: least share of the image's area that a rectangle of 3:4 to 4:3 shows, which is scaled to the
    size of the image; 0 turns it off."""
    jitter_brightness: NonNegative = 0.0
    """Colour jitter: largest distance from 1 of the factor of the brightness, drawn uniformly; 0 turns it off."""
    jitter_contrast: NonNegative = 0.0
    """Colour jitter: largest distance from 1 of the factor of the contrast; 0 turns it off."""
    jitter_saturation: NonNegative = 0.0
    """Colour jitter: largest distance from 1 of the factor of the saturation; 0 turns it off."""
    jitter_hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Colour jitter: largest share of the colour circle by which hues are turned; 0 turns it off."""
    flip_order: Literal["random", "alternating"] = "random"
    """Which images an epoch flips: each with probability 1/2 (random), or one half and then the other (alternating)."""
    policy: Policy = "none"
    """Operations on colour and shape after crop and flip; autoaugment is the policy found on CIFAR-10."""
    policy_operations: Annotated[int, Field(ge=1, le=16)] = 2
    """Operations that randaugment applies to an image, one after another."""
    policy_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of randaugment's operations."""
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Random erasing: probability that a rectangle of 2% to 33% of the image is set to the mean colour."""
    ricap_beta: NonNegative = 0.0
    """RICAP: both parameters of the Beta distributions of the point where four images meet in one; 0 turns it off."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the convolutions; auto is bfloat16 where the device computes it natively. On a GPU from Ampere on
    the products of float32 convolutions are TF32, with 10 bits of mantissa."""
    keep_weights: Literal["last", "best"] = "last"
    """Weights that a trial is evaluated with: those of its last epoch, or those of its best validation accuracy."""

    @property
    def unread(self) -> frozenset[str]:
        """Names of the fields that have no effect with the other fields of this recipe."""
        return frozenset(
            name
            for name, (others, _) in READ_WITH.items()
            if not any(reads(name, getattr(self, other)) for other in others)
        )

    def canonical(self) -> Recipe:
        """The recipe with every unread field at its default, so that recipes whose fields train the same are equal."""
        unread = self.unread
        return Recipe(**self.model_dump(exclude=set(unread))) if unread else self

    @property
    def judged_by(self) -> list[str]:
        """Names of the fields by which validation results decide about a training."""
        fields = {
            "schedule": self.schedule == "plateau",
            "patience_epochs": self.patience_epochs > 0,
            "keep_weights": self.keep_weights == "best",
        }
        return [name for name, is_judged in fields.items() if is_judged]

    def batches(self, images: int) -> int:
        """The number of batches, which are steps, in an epoch over `images` images; at least 1, which may be smaller.

        A single image that is left over is no batch, because BatchNorm may need two.
        """
        full, left = divmod(images, self.batch_size)
        return max(1, full + (self.keep_last_batch and left > 1))

    def first_fall(self, epochs: int) -> int:
        """The epoch at which the learning rate has fallen for the first time in a training of `epochs` epochs."""
        period = self.cosine_epochs if self.schedule in COSINES else 0
        if self.schedule == "cosine-restarts":
            period = self.restart_epochs
        return min(period or epochs, epochs)

    def problems_over(self, epochs: int) -> list[str]:
        """Sentences on what contradicts a training of `epochs` epochs."""
        falling = self.first_fall(epochs)
        if self.schedule in WARMED and self.warmup_epochs >= falling:
            return [f"warmup_epochs: {self.warmup_epochs:g} given for {falling} epochs; use less than {falling}"]
        left = (1 - self.cooldown_share) * epochs
        if self.schedule != "warmup-stable-decay" or self.warmup_epochs <= left:
            return []
        share = f"of which cooldown_share {self.cooldown_share:g} leaves {left:g}"
        return [f"warmup_epochs: {self.warmup_epochs:g} given for {epochs} epochs, {share}; lower one of them"]

    def problems_on(self, image_size: tuple[int, int]) -> list[str]:
        """Sentences on what contradicts a training on images of `image_size` (height, width) in pixels."""
        first, full = self.first_image_size, min(image_size)
        if first < full:
            return []
        size = "x".join(map(str, image_size))
        return [f"first_image_size: {first} given, the images have {size} pixels; use less than {full}, or 0"]

    @model_validator(mode="after")
    def _sense(self) -> Recipe:
        problems = []
        if self.optimizer in ("nesterov", "muon") and self.momentum == 0:
            problems.append(f"momentum: 0 given with {self.optimizer}, which needs more than 0; raise it or use sgd")
        if self.gradient_clipping and self.adaptive_clipping:
            problems.append(
                f"gradient_clipping: {self.gradient_clipping:g} given with adaptive_clipping "
                f"{self.adaptive_clipping:g}, but a gradient is clipped in one way only; set one of them to 0"
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
                f"but a batch is mixed in one way only; set {'one' if len(others) == 1 else 'two'} of them to 0"
            )
        if self.flip_order == "alternating" and not self.flip:
            problems.append(
                "flip_order: alternating given, but flip is false; set flip to true or flip_order to random"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
