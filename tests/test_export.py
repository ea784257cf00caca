"""Exports, read back through each tool's own client: equal counts, equal values, and what it cannot hold is said."""

import contextlib
import csv
import importlib
import json
import math

import numpy as np
import pytest
from records import ACCURACY, LOSS, SETTINGS, record, trial_of
from test_cli import jsweep

import jsweep as js
from jsweep.integrations.contents import Hyperparameter, contents_of, hyperparameters_of, mean_curve
from jsweep.integrations.mlflow import allowed
from jsweep.integrations.wandb import _shown
from jsweep.storage.records import Score, Stop

ODD = "läge <b>\t../x"
CONFIGS = [
    {"rate": 0.1, "width": 8, ODD: "None", "shape": (4, 0.1), "act": np.tanh, "flag": True},
    {"rate": 1e-4, "width": 16, ODD: None, "shape": (8,), "act": np.cosh, "flag": False},
    {"rate": 1, "width": 2**60, ODD: "=1+1", "shape": (8,), "act": np.tanh, "flag": True, "only": math.inf},
    {"rate": 3.5, "width": 8, ODD: 'ü,"\n', "shape": [1], "act": np.tanh, "flag": True},
    {"rate": 4.5, "width": 8, ODD: "", "shape": [1], "act": np.tanh, "flag": True},
    {"rate": 5.5, "width": 8, ODD: "x", "shape": [1], "act": np.tanh, "flag": True},
]
NAME = "made: <i>"


def make(settings=SETTINGS, path=None):
    """Six configs under two seeds: finished, one that diverged, failed, stopped, running, waiting."""
    value = lambda i, s, step: (i + 1) / 3 + s / 7 + 1 / step
    curve = lambda i, s: {step: {LOSS: value(i, s, step), ACCURACY: 1 / value(i, s, step)} for step in (5, 10)}
    diverged = {5: {LOSS: 0.5, ACCURACY: 0.5}, 10: {LOSS: math.nan, ACCURACY: math.inf}}
    trials = [(CONFIGS[0], s, curve(0, s)) for s in (0, 1)]
    trials += [(CONFIGS[1], 0, curve(1, 0)), (CONFIGS[1], 1, diverged)]
    trials += [(CONFIGS[2], 0, ValueError("no <way>")), (CONFIGS[2], 1, curve(2, 1))]
    store, result = record(trials, name=NAME, settings=settings, path=path)
    left = {index: [trial_of(CONFIGS[index], seed, 10) for seed in (0, 1)] for index in (3, 4, 5)}
    for index, own in left.items():
        store.add_trials(1, own)
        if index < 5:
            for trial in own:
                store.record_segment(1, "p", 1, [Score(trial.id, 5, curve(index, trial.seed)[5], None, False)])
    store.record_stops(1, [Stop(trial.id, 5, "worst third") for trial in left[3]], "me", lambda _: False)
    return store, result


@pytest.fixture(scope="module")
def result():
    return make()[1]


def recorded(result):
    """Every value of the record: (trial, metric, step) -> its repr, so that NaN equals NaN."""
    return {
        (trial, metric, step): repr(float(value))
        for metric in result.metrics()
        for trial, curve in result.curves(metric).items()
        for step, value in curve
    }


def statuses(result):
    return {trial.id: str(trial.status) for trial in result.trials()}


EXPECTED = ["finished"] * 4 + ["failed", "finished"] + ["stopped"] * 2 + ["running"] * 2 + ["waiting"] * 2


def test_the_sweep_has_all_that_an_export_may_meet(result):
    assert [*statuses(result).values()] == EXPECTED
    assert {"nan", "inf"} <= {*recorded(result).values()}


# -- what is handed over ------------------------------------------------------------------------------------------------


def test_hyperparameters_keep_their_type_or_become_text_that_differs(result):
    found = {each.name: each for each in hyperparameters_of(contents_of(result))}
    kinds = {name: (each.kind, each.as_text) for name, each in found.items()}
    assert kinds == {
        "rate": ("float", False), "width": ("text", True), ODD: ("text", True), "shape": ("text", True),
        "act": ("text", True), "flag": ("bool", False), "only": ("text", True),
    }  # fmt: skip
    assert len({*found[ODD].values.values()}) == 6  # "None" and None among them
    assert sorted({*found["shape"].values.values()}) == ["(4, 0.1)", "(8,)", "[1]"]
    assert {*found["act"].values.values()} == {"numpy:tanh", "numpy:cosh"}
    assert [*found["only"].values.values()] == ["inf"]


def test_numbers_beyond_any_float_are_text():
    trials = [({"n": n}, 0, {5: {LOSS: 1.0}}) for n in (10**400, 1, -(2**53) - 1)]
    (found,) = hyperparameters_of(contents_of(record(trials)[1]))
    assert (found.kind, found.as_text) == ("text", True)
    assert {*found.values.values()} == {str(10**400), "1", str(-(2**53) - 1)}


def test_names_that_wandb_has_itself_become_others_that_differ():
    names = ["jsweep", "config.jsweep", "_wandb", "rate"]
    every = [Hyperparameter(name, "int", {}, False) for name in names]
    shown = [_shown(name, every) for name in names]
    assert shown == ["config.config.jsweep", "config.jsweep", "config._wandb", "rate"]


def test_a_mean_curve_has_the_steps_that_all_seeds_have_and_keeps_nan():
    assert mean_curve([[(5, 1.0), (10, 2.0)], [(5, 2.0)]]) == [(5, 1.5)]
    assert math.isnan(mean_curve([[(5, math.inf)], [(5, -math.inf)]])[0][1])
    assert mean_curve([]) == []


# -- tables -------------------------------------------------------------------------------------------------------------


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_tables_have_every_trial_and_every_value(result, tmp_path, to):
    path = tmp_path / f"out.{to}"
    if to == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    written = js.export(result, path, to=to)
    if to == "csv":
        rows, curves = read_csv(path), read_csv(tmp_path / "out.curves.csv")
        assert {row["rate"] for row in rows} == {"0.1", "0.0001", "1", "3.5", "4.5", "5.5"}
    else:
        from pyarrow import parquet

        rows, curves = (parquet.read_table(file).to_pylist() for file in (path, tmp_path / "out.curves.parquet"))
        assert {row["rate"] for row in rows} == {0.1, 1e-4, 1.0, 3.5, 4.5, 5.5}
        assert rows[0]["flag"] is True
        assert rows[0]["only"] is None
        told = json.loads(parquet.read_schema(path).metadata[b"jsweep"])
        assert (told["name"], told["objectives"]) == (NAME, [[LOSS, "min"]])
    assert {row["trial"]: row["status"] for row in rows} == statuses(result)
    assert {(c["trial"], c["metric"], int(c["step"])): repr(float(c["value"])) for c in curves} == recorded(result)
    assert len(curves) == written.values == len(recorded(result))
    assert (written.configs, written.trials) == (6, 12)
    failed = next(row for row in rows if row["status"] == "failed")
    assert failed["reason"] == "ValueError: no <way>"
    assert failed[LOSS] in ("", None)
    assert json.loads(rows[0]["json"])["shape"] == {"tuple": [4, 0.1]}


def test_xarray_has_labelled_dimensions(result):
    pytest.importorskip("xarray", reason="xarray is not installed")
    data = result.to_xarray()
    assert dict(data.sizes) == {"metric": 3, "config": 6, "seed": 2, "step": 2}
    found = {}
    for metric in result.metrics():
        for config in data.config.values:
            for seed in data.seed.values:
                own = data.sel(config=config, seed=seed)
                for step in data.step.values:
                    if own.recorded.sel(metric=metric, step=step):
                        found[str(own.trial.values), metric, int(step)] = repr(float(own[metric].sel(step=step)))
    assert found == recorded(result)
    assert data.rate.dims == ("config",)
    assert data.rate.values.tolist() == [config["rate"] for config in CONFIGS]
    assert data.status.sel(seed=0).values.tolist() == EXPECTED[::2]
    assert float(data[LOSS].sel(step=10).mean("seed")[0]) == pytest.approx(result.best().mean)


# -- optuna -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def loaded(optuna, path):
    """A study as Optuna opens it; its connections are closed after."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    yield optuna.load_study(study_name=NAME, storage=storage)
    storage.remove_session()
    storage.engine.dispose()


def test_an_optuna_study_has_configs_as_trials(result, tmp_path):
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    written = js.export(result, tmp_path / "study.db", to="optuna")
    assert "1 finished with a score that is NaN" in str(written)
    with loaded(optuna, tmp_path / "study.db") as study:
        assert [trial.state.name for trial in study.trials] == [
            "COMPLETE",
            "FAIL",
            "FAIL",
            "PRUNED",
            "RUNNING",
            "WAITING",
        ]
        assert study.direction.name == "MINIMIZE"
        assert study.best_value == result.best().mean
        assert study.best_params["rate"] == 0.1
        scores = {score.config_id: score for score in result.ranking()}
        for trial in study.trials:
            score = scores[trial.user_attrs["jsweep.config_id"]]
            assert trial.user_attrs["jsweep.trials"] == [*score.trials]
            mean = mean_curve(result.curves(LOSS)[own] for own in score.trials)
            assert repr(trial.intermediate_values) == repr(dict(mean))
        assert study.trials[1].user_attrs["jsweep.last"][ACCURACY][1] == math.inf
        rate = study.trials[0].distributions["rate"]
        assert (rate.low, rate.high, rate.log) == (1e-4, 5.5, True)
        assert study.trials[0].params["act"] == "numpy:tanh"
        assert "only" not in study.trials[0].params
        with pytest.raises(js.ConfigError, match="has a study 'made: <i>' already: pass another path"):
            js.export(result, tmp_path / "study.db", to="optuna")


def test_an_optuna_study_of_several_objectives_has_their_front(tmp_path):
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    result = make(SETTINGS | {"objectives": [[LOSS, "min"], [ACCURACY, "max"]]})[1]
    js.export(result, tmp_path / "study.db", to="optuna")
    with loaded(optuna, tmp_path / "study.db") as study:
        assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
        point = result.pareto()[0]
        assert [trial.values for trial in study.best_trials] == [[score.mean for score in point.scores]]


def test_a_study_without_a_direction_is_refused(tmp_path):
    result = make({"metrics": [LOSS], "objective": {"metric": "validation/f1"}})[1]
    with pytest.raises(js.ConfigError, match="which a study needs"):
        js.export(result, tmp_path / "study.db", to="optuna")
    assert js.export(result, tmp_path / "t.csv", to="csv").trials == 12


# -- trackers -----------------------------------------------------------------------------------------------------------


def test_tensorboard_reads_every_value_and_the_hyperparameters(result, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    js.export(result, tmp_path / "events", to="tensorboard")
    found, seen, groups = {}, {}, {}
    for trial in result.trials():
        events = EventAccumulator(str(tmp_path / "events" / trial.config_id / f"seed-{trial.seed}")).Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                found[trial.id, tag, event.step] = repr(event.value)
        told = json.loads(events.Tensors("jsweep/text_summary")[0].tensor_proto.string_val[0])
        assert told["trial"] == trial.id
        seen[trial.id] = told["status"]
        start = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        parsed = metadata.parse_session_start_info_plugin_data(start)
        groups.setdefault(parsed.group_name, []).append(dict(parsed.hparams))
    assert found == {key: repr(float(np.float32(value))) for key, value in recorded(result).items()}
    assert seen == statuses(result)
    assert [len(own) for own in groups.values()] == [2] * 6
    first = groups[result.best().config_id][0]
    assert (first["rate"].number_value, first["flag"].bool_value) == (0.1, True)
    assert first["act"].string_value == "numpy:tanh"
    with pytest.raises(js.ConfigError, match="is not an empty folder"):
        js.export(result, tmp_path / "events", to="tensorboard")


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_configs_as_runs_and_seeds_within_them(result, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'jsweep[mlflow]'")
    monkeypatch.chdir(tmp_path)
    written = js.export(result, tmp_path / "mlflow.db", to="mlflow")
    assert "1.8e308" in str(written)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    children = {run.data.tags["jsweep.trial"]: run for run in runs if "jsweep.trial" in run.data.tags}
    parents = {run.info.run_id: run for run in runs if "jsweep.trial" not in run.data.tags}
    assert (len(parents), len(children)) == (6, 12)
    found = {}
    for id, run in children.items():
        assert (
            parents[run.data.tags["mlflow.parentRunId"]].data.tags["jsweep.config_id"]
            == run.data.tags["jsweep.config_id"]
        )
        for metric in run.data.metrics:
            for point in client.get_metric_history(run.info.run_id, metric):
                found[id, metric, point.step] = repr(math.inf if point.value > 1e308 else float(point.value))
    assert found == recorded(result)
    assert {id: run.data.tags["jsweep.status"] for id, run in children.items()} == statuses(result)
    states = {
        "finished": "FINISHED",
        "failed": "FAILED",
        "stopped": "KILLED",
        "running": "RUNNING",
        "waiting": "SCHEDULED",
    }
    assert all(run.info.status == states[run.data.tags["jsweep.status"]] for run in children.values())
    best = next(run for run in parents.values() if run.data.tags["jsweep.config_id"] == result.best().config_id)
    assert best.data.metrics[LOSS] == pytest.approx(result.best().mean, rel=1e-15)
    assert (best.data.params["rate"], best.data.params["act"]) == ("0.1", "numpy:tanh")
    assert json.loads(best.data.tags["jsweep.config"])["shape"] == {"tuple": [4, 0.1]}
    with pytest.raises(js.ConfigError, match="already: pass another path"):
        js.export(result, tmp_path / "mlflow.db", to="mlflow")


def test_names_that_mlflow_refuses_become_others_that_differ():
    names = ["a/b", "a?b", "a_b", "../x", "/", "", "é", "x" * 300, "x" * 299, "a//b"]
    found = allowed(names)
    assert len({*found.values()}) == len(names)
    assert (found["a/b"], found["a?b"], found["a_b"]) == ("a/b", "a_b", "a_b 2")
    assert all(value and len(value) <= 250 and ".." not in value.split("/") for value in found.values())


def wandb_records(file):
    """The records of an offline run: a log of LevelDB's format after seven bytes of wandb's own; wandb reads it in Go."""
    content, place, part = file.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield part
            part = b""


@pytest.mark.filterwarnings("ignore")
def test_wandb_holds_every_value_in_offline_runs(result, tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'jsweep[wandb]'")
    wandb_internal_pb2 = importlib.import_module("wandb.proto.wandb_internal_pb2")

    some = result.where(rate=[1e-4, 1])  # a run takes wandb a second
    js.export(some, tmp_path / "runs", to="wandb")
    found, seen = {}, {}
    for file in (tmp_path / "runs").glob("wandb/offline-run-*/*.wandb"):
        rows, told = [], {}
        for data in wandb_records(file):
            entry = wandb_internal_pb2.Record()
            entry.ParseFromString(data)
            if entry.WhichOneof("record_type") == "run":
                told |= {update.key: json.loads(update.value_json) for update in entry.run.config.update}
            elif entry.WhichOneof("record_type") == "history":
                rows.append({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in entry.history.item})
        assert told["flag"] is (told["rate"] == 1)
        seen[told["jsweep"]["trial"]] = told["jsweep"]["status"]
        for row in rows:
            for metric in some.metrics():
                if metric in row:
                    found[told["jsweep"]["trial"], metric, row["_step"]] = repr(float(row[metric]))
    assert found == recorded(some)
    assert seen == statuses(some)


# -- mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "csv", "-o", "s.db"], "would overwrite the record"),
        (["--to", "csv", "-o", "none/t.csv"], "the folder 'none' does not exist"),
        (["--to", "csv", "-o", "."], "'.' is a folder"),
        (["--to", "tensorboard", "-o", "s3://bucket"], "is a URL"),
        (["none", "--to", "csv", "-o", "t.csv"], "no sweep 'none'"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    make(path="s.db")[0].close()
    code, out, err = jsweep(capsys, "export", *arguments, "--store", "s.db")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_command_says_what_it_wrote(capsys, tmp_path):
    make(path=tmp_path / "s.db")[0].close()
    out = tmp_path / "t.csv"
    code, said, _ = jsweep(capsys, "export", NAME, "--to", "csv", "-o", out, "--store", tmp_path / "s.db")
    assert code == 0
    assert said.startswith(f"wrote 6 configs, 12 trials, 28 values to {out}\n")
    assert len(read_csv(out)) == 12


@pytest.mark.parametrize("to", ["optuna", "mlflow"])
@pytest.mark.parametrize("name", ["a?b.db", "a%20b.db", "a#b.db"])
def test_a_path_that_means_another_file_in_a_url_is_refused(result, tmp_path, to, name):
    with pytest.raises(js.ConfigError, match="means something else in the URL"):
        js.export(result, tmp_path / name, to=to)
    assert not any(tmp_path.iterdir())


def test_a_sweep_without_trials_and_an_unknown_tool_are_refused(tmp_path):
    with pytest.raises(js.ConfigError, match="has no trials to export"):
        js.export(record([])[1], tmp_path / "t.csv", to="csv")
    with pytest.raises(js.ConfigError, match="to='excel' is not known: pass one of csv, parquet"):
        js.export(record([])[1], tmp_path / "t.csv", to="excel")
