"""The error tree of `trainables`.

TrainablesError (ValueError)
├── DatasetError      a data set that is unknown, cannot be obtained, or is not what it should be
├── CheckpointError   a checkpoint that is damaged or belongs to another training
├── DivergedError     a training whose loss is no longer finite
└── DeviceError       a GPU that is reserved for a training, but that torch cannot use
"""


class TrainablesError(ValueError):
    """Anything that a caller of `trainables` can correct by changing a value, a file or a connection."""


class DatasetError(TrainablesError):
    """A data set that is unknown, cannot be obtained, or is not what it should be."""


class CheckpointError(TrainablesError):
    """A checkpoint that is damaged or belongs to another training."""


class DeviceError(TrainablesError):
    """A GPU that is reserved for a training, but that torch cannot use; the message has torch's reason."""


class DivergedError(TrainablesError):
    """A training whose loss is no longer finite; the message names the epoch."""
