"""The error tree of `trainables`.

TrainablesError (ValueError)
├── DatasetError      a data set that is unknown, cannot be obtained, or is not what it should be
├── CheckpointError   a checkpoint that is damaged or belongs to another training
└── DivergedError     a training whose loss is no longer finite
"""


class TrainablesError(ValueError):
    """Anything that a caller of `trainables` can correct by changing a value, a file or a connection."""


class DatasetError(TrainablesError):
    """A data set that is unknown, cannot be obtained, or is not what it should be."""


class CheckpointError(TrainablesError):
    """A checkpoint that is damaged or belongs to another training."""


class DivergedError(TrainablesError):
    """A training whose loss is no longer finite; the message names the epoch."""
