"""One trial as Ray Tune drives it, without a cluster: its results, its endings, and what it does not do."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

from model_zoo import ResNetLayout
from tests.support.training_fixtures import AUGMENTED, TIMES, small_recipe, small_trainer, timeless, trained
from trainables.errors import DeviceError
from trainables.ray_trainable import TrialTrainable
from trainables.training import EpochReport, Trainer

FIELDS = set(EpochReport.__dataclass_fields__)
LAYOUT = {"blocks": [1, 1], "channels": [8, 16], "in_channels": 1}
FRESH_IMPORTS = """
import sys
from ray import tune
before = set(sys.modules)
import trainables.ray_trainable
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new & {"torch", "torchvision", "pandas", "plotly", "pyarrow", "duckdb", "sklearn", "PIL", "optuna"}))
"""


def coded(text: str, code: int) -> torch.AcceleratorError:
    """An error of CUDA as torch raises it, with CUDA's own code."""
    error = torch.AcceleratorError(text)
    error.error_code = code  # type: ignore[attr-defined]  # torch sets it where it translates its C++ exception
    return error


OUT_OF_MEMORY = [
    coded("CUDA error: out of memory", 2),
    coded("CUDA error: memory allocation", 2),
    torch.AcceleratorError("CUDA error: out of memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB, other allocations: 2.29 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError("Unable to allocate 3.00 GiB for an array"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
BROKEN_CONTEXTS = [
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
    "Triton Error [CUDA]: an illegal memory access was encountered",
]


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises `error`."""

    def function(*given: Any, **named: Any) -> Any:
        raise error

    return function


@pytest.fixture(autouse=True)
def _logs_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainable made without a Tuner logs below the home folder unless this says otherwise."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path_factory.mktemp("ray")))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> dict[str, Any]:
    return {
        "trial": 0,
        "layout": LAYOUT,
        "recipe": small_recipe().model_dump(),
        "seed": 5,
        "rungs": [1, 3],
        "data": {"name": "digits", "data_dir": str(data_dir), "train_images": 40},
        "checkpoint": str(tmp_path / "checkpoints" / "trial-00000.safetensors"),
        "recorded_epochs": 0,
        "threads": 1,
        "accelerator": False,
        "compile": "auto",
    }


def results(trainable: tune.Trainable) -> Iterator[dict[str, Any]]:
    """The results of `train` up to the one that says `done`, at most ten."""
    for _ in range(10):
        result = trainable.train()
        yield result
        if result["done"]:
            return
    pytest.fail("ten results and none is done")


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in FIELDS - set(TIMES)}


def test_a_trial_reports_every_epoch_and_ends_completed(config: dict[str, Any]) -> None:
    found = list(results(TrialTrainable(config)))
    assert [result["epoch"] for result in found] == [1, 2, 3]
    assert [result["rung"] for result in found] == [1, None, 2]
    assert [result["outcome"] for result in found] == [None, None, "completed"]
    assert all(result["error"] is None and set(result) >= FIELDS for result in found)
    assert all(0 <= result["val_accuracy"] <= 1 for result in found)


def test_the_seed_and_the_rungs_are_the_trainings(config: dict[str, Any]) -> None:
    from trainables.data import load_training_set

    recipe, data = small_recipe(**AUGMENTED), load_training_set(**config["data"])
    found = {}
    for seed, rungs in ((5, (1, 3)), (6, (2, 4))):
        changes = {"recipe": recipe.model_dump(), "seed": seed, "rungs": list(rungs)}
        path = Path(config["checkpoint"]).with_name(f"{seed}.safetensors")
        found[seed] = [
            numbers(result) for result in results(TrialTrainable(config | changes | {"checkpoint": str(path)}))
        ]
        layout = ResNetLayout.from_dict(LAYOUT)
        trainer = small_trainer(recipe, data, layout=layout, epochs=rungs[-1], seed=seed, rungs=rungs)
        assert found[seed] == [timeless(report) for report in trained(trainer)]
    assert found[5][0]["train_loss"] != found[6][0]["train_loss"]


def test_setting_up_opens_writes_and_loads_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    config |= {"data": {"name": "digits", "data_dir": str(tmp_path / "data")}, "layout": "nonsense", "recipe": None}
    trainable = TrialTrainable(config)
    assert trainable.reset_config(config | {"trial": 1})
    trainable.stop()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_trainable_imports_neither_torch_nor_the_other_heavy_ones() -> None:
    command = [sys.executable, "-c", FRESH_IMPORTS]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert run.stdout == "\n"


def test_torch_computes_on_as_many_threads_as_the_trial_has_cores(config: dict[str, Any]) -> None:
    TrialTrainable(config | {"threads": 2}).train()
    assert torch.get_num_threads() == 2
    TrialTrainable(config).train()
    assert torch.get_num_threads() == 1


def test_a_divergence_is_an_outcome_with_one_line(config: dict[str, Any]) -> None:
    config["recipe"] |= {"learning_rate": 1e30, "schedule": "constant"}
    (result,) = results(TrialTrainable(config))
    assert (result["outcome"], result["epoch"], result["val_accuracy"]) == ("diverged", 0, 0.0)
    assert "lower recipe.learning_rate (1e+30)" in result["error"]
    assert "\n" not in result["error"]
    assert not Path(config["checkpoint"]).exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"layout": {"blocks": [1, 1], "channels": [4, 0]}}, "LayoutError"),
        ({"layout": LAYOUT | {"classes": 3}}, "IndexError: Target"),
        ({"layout": LAYOUT | {"in_channels": 3}}, "RuntimeError"),
        ({"recipe": {"batch_size": 0}}, "ValidationError"),
        ({"rungs": [0]}, "ValueError: epochs: 0 given"),
        ({"rungs": [2, 1]}, "ValueError: rungs: (2, 1) given"),
        ({"seed": -1}, "ValueError"),
        ({"data": {"name": "no-such-set"}}, "DatasetError"),
    ],
)
def test_an_exception_is_the_outcome_failed_with_its_traceback(
    config: dict[str, Any], changes: dict[str, Any], error: str
) -> None:
    (result,) = results(TrialTrainable(config | changes))
    assert (result["outcome"], result["epoch"], result["val_accuracy"]) == ("failed", 0, 0.0)
    assert result["error"].startswith("Traceback (most recent call last):\n")
    assert error in result["error"]
    assert "val_loss" not in result


def test_a_failure_in_the_middle_is_reported_at_the_last_finished_epoch(config: dict[str, Any]) -> None:
    trainable = TrialTrainable(config)
    assert trainable.train()["epoch"] == 1
    folder = Path(config["checkpoint"]).parent
    Path(config["checkpoint"]).unlink()
    folder.rmdir()
    folder.write_text("no longer a folder")
    (result,) = results(trainable)
    assert result["outcome"] == "failed"
    assert "FileExistsError" in result["error"] or "NotADirectoryError" in result["error"]


def test_a_damaged_checkpoint_is_the_outcome_failed_and_names_the_file(config: dict[str, Any]) -> None:
    path = Path(config["checkpoint"])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    (result,) = results(TrialTrainable(config))
    assert result["outcome"] == "failed"
    assert f"CheckpointError: {path}: not readable" in result["error"]


def test_a_lost_device_reaches_ray_which_starts_a_new_process(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: Trainer) -> EpochReport:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Trainer, "train_epoch", lost)
    with pytest.raises(torch.AcceleratorError):
        TrialTrainable(config).train()


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_every_way_of_running_out_of_memory_is_one_outcome(
    error: Exception, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.Trainer.train_epoch", raising(error))
    (result,) = results(TrialTrainable(config))
    assert result["outcome"] == "out-of-memory"
    assert str(error) in result["error"]


@pytest.mark.parametrize("text", BROKEN_CONTEXTS)
@pytest.mark.parametrize("broken", [True, False])
def test_an_error_after_which_cuda_answers_nothing_ends_the_process(
    broken: bool, text: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError(text)
    monkeypatch.setattr("trainables.training.Trainer.train_epoch", raising(error))
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    another = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr("torch.cuda.synchronize", raising(another) if broken else lambda: None)
    if broken:
        with pytest.raises(RuntimeError) as raised:
            TrialTrainable(config).train()
        assert str(raised.value) == text
    else:
        assert [result["outcome"] for result in results(TrialTrainable(config))] == ["failed"]


def test_a_full_gpu_on_which_no_context_can_be_made_is_not_a_broken_one(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.Trainer.train_epoch", raising(RuntimeError("an error of the layout")))
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    monkeypatch.setattr("torch.cuda.synchronize", raising(OUT_OF_MEMORY[0]))
    assert [result["outcome"] for result in results(TrialTrainable(config))] == ["failed"]


def test_a_reserved_gpu_that_torch_cannot_use_ends_the_process_with_torchs_reason(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "The NVIDIA driver on your system is too old (found version 12020)"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.init", raising(RuntimeError(f"{reason}. Please update it.\nMore text")))
    with pytest.raises(DeviceError, match=f"^gpus_per_trial: a GPU is requested, but torch .*: {re.escape(reason)};"):
        TrialTrainable(config | {"accelerator": True}).train()
    assert not Path(config["checkpoint"]).exists()


def test_what_ran_out_of_memory_returns_it_at_once(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[weakref.ref[torch.nn.Module]] = []
    alive_when_emptied: list[object] = []

    def full(self: Trainer) -> EpochReport:
        networks.append(weakref.ref(self.network))
        here = self.network.stem(torch.zeros(1, 1, 8, 8))  # a frame of the traceback holds it and the trainer
        raise torch.OutOfMemoryError(f"CUDA out of memory after {here.shape}")

    monkeypatch.setattr(Trainer, "train_epoch", full)
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: alive_when_emptied.append([one() for one in networks]))
    assert [result["outcome"] for result in results(TrialTrainable(config))] == ["out-of-memory"]
    assert alive_when_emptied[-1] == [None]


def test_a_trial_taken_up_again_goes_on_after_the_recorded_epoch(config: dict[str, Any], tmp_path: Path) -> None:
    whole = [numbers(result) for result in results(TrialTrainable(config))]
    config["checkpoint"] = str(tmp_path / "other" / "trial.safetensors")
    dead = TrialTrainable(config)
    assert numbers(dead.train()) == whole[0]
    successor = TrialTrainable(config | {"recorded_epochs": 1})
    assert [numbers(result) for result in results(successor)] == whole[1:]


def test_an_epoch_that_was_saved_but_not_recorded_is_reported_and_not_trained_again(config: dict[str, Any]) -> None:
    dead = TrialTrainable(config)
    first, second = dead.train(), dead.train()
    content = Path(config["checkpoint"]).read_bytes()
    successor = TrialTrainable(config | {"recorded_epochs": 1})
    again = successor.train()
    assert {name: again[name] for name in FIELDS} == {name: second[name] for name in FIELDS}  # its times as well
    assert Path(config["checkpoint"]).read_bytes() == content
    assert [result["epoch"] for result in results(successor)] == [3]
    assert first["epoch"] == 1


@pytest.mark.parametrize("recorded_epochs", [0, 2, 3])
def test_a_trial_whose_last_epoch_was_saved_completes_without_training(
    config: dict[str, Any], recorded_epochs: int
) -> None:
    last = list(results(TrialTrainable(config)))[-1]
    content = Path(config["checkpoint"]).read_bytes()
    (result,) = results(TrialTrainable(config | {"recorded_epochs": recorded_epochs}))
    assert numbers(result) == numbers(last)
    assert result["outcome"] == "completed"
    assert Path(config["checkpoint"]).read_bytes() == content


def test_a_reused_actor_trains_the_next_trial_as_a_new_one_would(config: dict[str, Any], tmp_path: Path) -> None:
    def trial(number: int, **changes: Any) -> dict[str, Any]:
        return config | {"trial": number, "checkpoint": str(tmp_path / f"{number}.safetensors")} | changes

    second = trial(1, layout=LAYOUT | {"channels": [16, 16]})
    other_data = trial(2, data=config["data"] | {"train_images": 50})
    expected = [[numbers(result) for result in results(TrialTrainable(each))] for each in (second, other_data)]
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    reused = TrialTrainable(config)
    reused.train()
    opened = reused._images
    for each, numbers_of_new, keeps_data in zip((second, other_data), expected, (True, False), strict=True):
        assert reused.reset_config(each)
        assert [numbers(result) for result in results(reused)] == numbers_of_new
        assert (reused._images is opened) == keeps_data


def test_a_failed_trial_does_not_spoil_the_next_one_of_its_actor(config: dict[str, Any]) -> None:
    reused = TrialTrainable(config | {"layout": LAYOUT | {"in_channels": 3}})
    assert [result["outcome"] for result in results(reused)] == ["failed"]
    assert reused.reset_config(config)
    assert [result["outcome"] for result in results(reused)] == [None, None, "completed"]
