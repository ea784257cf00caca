"""A sweep as TensorBoard's event files, a folder a trial, with hyperparameters for its HParams page."""

import json
from datetime import datetime
from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep.integrations.contents import Contents, Hyperparameter, check_new_folder, file_name, hyperparameters_of
from jsweep.space import encode
from jsweep.storage import Status, Trial

_PROTO = "tensorboard.compat.proto"
_HPARAMS = "tensorboard.plugins.hparams"


def write(contents: Contents, path: str) -> list[str]:
    """Write the folder; notes on what it cannot hold."""
    folder = check_new_folder(path)
    import_optional("tensorboard", "tensorboard")
    hyperparameters = hyperparameters_of(contents)
    _write_events(str(folder), [_experiment(contents, hyperparameters)], contents.created)
    for trial in contents.trials:
        own = folder / file_name(trial.config_id) / f"seed-{trial.seed}"
        _write_events(str(own), _trial_summaries(contents, trial, hyperparameters), contents.created)
    return ["TensorBoard keeps values in single precision."]


def _trial_summaries(contents: Contents, trial: Trial, hyperparameters: list[Hyperparameter]) -> list[Any]:
    api = import_optional(f"{_HPARAMS}.api_pb2", "tensorboard")
    plugin = import_optional(f"{_HPARAMS}.plugin_data_pb2", "tensorboard")
    start = plugin.SessionStartInfo(group_name=trial.config_id, start_time_secs=_time(contents.created))
    for each in hyperparameters:
        if trial.config_id in each.values:
            field = {"bool": "bool_value", "text": "string_value"}.get(each.kind, "number_value")
            setattr(start.hparams[each.name], field, each.values[trial.config_id])
    status = {
        Status.FINISHED: api.STATUS_SUCCESS,
        Status.FAILED: api.STATUS_FAILURE,
        Status.STOPPED: api.STATUS_SUCCESS,  # there is none for it; the text says that it was stopped
    }.get(trial.status, api.STATUS_RUNNING)
    scalars = [
        (step, _scalar(metric, value)) for metric, curve in contents.curves[trial.id].items() for step, value in curve
    ]
    told = {
        "trial": trial.id,
        "status": str(trial.status),
        "reason": trial.reason,
        "steps": [trial.done, trial.steps],
        "nonfinite": trial.nonfinite,
        "config": {name: encode(value) for name, value in trial.config.items()},
    }
    ended = trial.status in (Status.FINISHED, Status.FAILED, Status.STOPPED)
    info = plugin.SessionEndInfo(status=status, end_time_secs=_time(contents.created))
    end = [(0, _hparams(session_end_info=info))] if ended else []
    return [
        (0, _hparams(session_start_info=start)),
        (0, _text("jsweep", json.dumps(told))),
        *sorted(scalars, key=lambda each: each[0]),
        *end,
    ]


def _experiment(contents: Contents, hyperparameters: list[Hyperparameter]) -> Any:
    api = import_optional(f"{_HPARAMS}.api_pb2", "tensorboard")
    first = [each.metric for each in contents.objectives]
    metrics = [*first, *(metric for metric in contents.metrics if metric not in first)]
    infos = [api.MetricInfo(name=api.MetricName(tag=metric)) for metric in metrics]
    described = [_hparam_info(api, each) for each in hyperparameters]
    made = api.Experiment(hparam_infos=described, metric_infos=infos, time_created_secs=_time(contents.created))
    return 0, _hparams(experiment=made)


def _hparams(**content: Any) -> Any:
    """A summary for the HParams page; TensorBoard's own function for it needs TensorFlow."""
    metadata = import_optional(f"{_HPARAMS}.metadata", "tensorboard")
    plugin = import_optional(f"{_HPARAMS}.plugin_data_pb2", "tensorboard")
    tags = {
        "experiment": metadata.EXPERIMENT_TAG,
        "session_start_info": metadata.SESSION_START_INFO_TAG,
        "session_end_info": metadata.SESSION_END_INFO_TAG,
    }
    (kind,) = content
    described = metadata.create_summary_metadata(plugin.HParamsPluginData(**content))
    return _summary(tag=tags[kind], metadata=described, tensor=metadata.NULL_TENSOR)


def _hparam_info(api: Any, each: Hyperparameter) -> Any:
    kinds = {"bool": api.DATA_TYPE_BOOL, "text": api.DATA_TYPE_STRING}
    info = api.HParamInfo(name=each.name, type=kinds.get(each.kind, api.DATA_TYPE_FLOAT64))
    if each.kind in ("bool", "text"):
        info.domain_discrete.extend([*dict.fromkeys(each.values.values())])
    else:
        numbers = [float(value) for value in each.values.values() if not isinstance(value, str)]
        info.domain_interval.min_value, info.domain_interval.max_value = min(numbers), max(numbers)
    return info


def _scalar(tag: str, value: float) -> Any:
    return _summary(tag=tag, simple_value=value)


def _text(tag: str, text: str) -> Any:
    metadata = import_optional("tensorboard.plugins.text.metadata", "tensorboard")
    tensors = import_optional("tensorboard.util.tensor_util", "tensorboard")
    described = metadata.create_summary_metadata(display_name=tag, description="")
    return _summary(tag=f"{tag}/text_summary", metadata=described, tensor=tensors.make_tensor_proto(text))


def _summary(**value: Any) -> Any:
    summary = import_optional(f"{_PROTO}.summary_pb2", "tensorboard")
    return summary.Summary(value=[summary.Summary.Value(**value)])


def _write_events(folder: str, summaries: Any, created: str) -> None:
    event = import_optional(f"{_PROTO}.event_pb2", "tensorboard")
    writers = import_optional("tensorboard.summary.writer.event_file_writer", "tensorboard")
    writer = writers.EventFileWriter(folder)
    for step, summary in summaries:
        writer.add_event(event.Event(wall_time=_time(created), step=step, summary=summary))
    writer.close()


def _time(created: str) -> float:
    return datetime.fromisoformat(created).timestamp()
