"""A sweep as offline runs of Weights & Biases, which ``wandb sync`` uploads."""

from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep.integrations.contents import Contents, Hyperparameter, check_new_folder, hyperparameters_of
from jsweep.space import encode
from jsweep.storage import Status, Trial

RESERVED = ("jsweep", "_wandb")  # what a run's config has besides the hyperparameters


def write(contents: Contents, path: str) -> list[str]:
    """Write a run a trial into a new folder; notes on what is not as in the record. Nothing is sent anywhere."""
    folder = check_new_folder(path)
    wandb = import_optional("wandb", "wandb")
    folder.mkdir(exist_ok=True)
    hyperparameters = hyperparameters_of(contents)
    for trial in contents.trials:
        _write_run(wandb, str(folder), contents, trial, hyperparameters)
    notes = [f"runs are offline: wandb sync {folder}/wandb/offline-run-* uploads them."]
    taken = [name for name in RESERVED if any(each.name == name for each in hyperparameters)]
    return notes + [f"The hyperparameter {name!r} is under {_shown(name, hyperparameters)!r}." for name in taken]


def _shown(name: str, hyperparameters: list[Hyperparameter]) -> str:
    """The name in a run's config: another one where W&B or the record of the trial has it."""
    others = {*RESERVED, *(each.name for each in hyperparameters if each.name != name)}
    shown = name
    while shown in others:
        shown = f"config.{shown}"
    return shown


def _write_run(
    wandb: Any, folder: str, contents: Contents, trial: Trial, hyperparameters: list[Hyperparameter]
) -> None:
    own = {
        _shown(each.name, hyperparameters): each.values[trial.config_id]
        for each in hyperparameters
        if trial.config_id in each.values
    }
    told = {
        "config": {name: encode(value) for name, value in trial.config.items()},
        "trial": trial.id,
        "seed": trial.seed,
        "status": str(trial.status),
        "reason": trial.reason,
        "steps": [trial.done, trial.steps],
        "nonfinite": trial.nonfinite,
    }
    run = wandb.init(
        project="".join("_" if c in "/\\#?%:" else c for c in contents.name)[:128],
        dir=folder,
        mode="offline",
        name=f"{trial.config_id[:10]} seed {trial.seed}",
        group=trial.config_id,
        tags=[str(trial.status)],
        config={**own, "jsweep": told},
        reinit="create_new",
        settings=wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True, disable_code=True
        ),
    )
    by_step: dict[int, dict[str, float]] = {}
    for metric, curve in contents.curves[trial.id].items():
        for step, value in curve:
            by_step.setdefault(step, {})[metric] = value
    for step in sorted(by_step):
        run.log(by_step[step], step=step)
    run.finish(exit_code=1 if trial.status == Status.FAILED else 0)
