"""The tables of the record. Scores are one row a metric, so that any SQLite tool can ask about them."""

VERSION = 2

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    identity TEXT NOT NULL,      -- JSON: what must stay equal for the sweep to go on
    settings TEXT NOT NULL,      -- JSON: how to read the record (metrics, directions, roles)
    created TEXT NOT NULL        -- UTC, ISO 8601
);

CREATE TABLE environments (      -- where trials were trained: versions, device, flags
    id INTEGER PRIMARY KEY,
    described TEXT NOT NULL UNIQUE  -- JSON
);

CREATE TABLE trials (
    key INTEGER PRIMARY KEY,
    sweep INTEGER NOT NULL REFERENCES sweeps,
    id TEXT NOT NULL,
    config_id TEXT NOT NULL,
    config TEXT NOT NULL,        -- JSON
    seed INTEGER NOT NULL,
    steps INTEGER NOT NULL,      -- to be trained
    done INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'finished', 'failed')),
    nonfinite INTEGER,           -- the step at which a metric stopped being finite
    reason TEXT,                 -- why it failed
    program TEXT,                -- fingerprint of the tile program
    width INTEGER,               -- of the tile
    owner TEXT,                  -- the running process that trains it
    environment INTEGER REFERENCES environments,
    digest TEXT,                 -- SHA-256 over what was recorded of it when it finished
    UNIQUE (sweep, id)
);

CREATE TABLE metrics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE scores (
    trial INTEGER NOT NULL REFERENCES trials,
    metric INTEGER NOT NULL REFERENCES metrics,
    step INTEGER NOT NULL,
    value REAL,                  -- NULL stands for NaN
    PRIMARY KEY (trial, metric, step)
) WITHOUT ROWID;

CREATE TABLE checkpoints (       -- files in STORE.checkpoints, written before their row
    sweep INTEGER NOT NULL REFERENCES sweeps,
    tile TEXT NOT NULL,          -- a hash of its trials; of a finished trial's own state, its id
    step INTEGER NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    trials TEXT NOT NULL,        -- JSON: their ids, in the order of the lanes
    finished INTEGER NOT NULL,   -- 1: one trial's state at its end
    PRIMARY KEY (sweep, tile, step)
) WITHOUT ROWID;

CREATE TABLE tests (             -- the ledger: every opening of the test split
    id INTEGER PRIMARY KEY,
    sweep INTEGER NOT NULL REFERENCES sweeps,
    config_id TEXT NOT NULL,
    config TEXT NOT NULL,
    chosen_by TEXT NOT NULL,
    scores TEXT NOT NULL,        -- JSON: metric -> one value a seed
    seeds TEXT NOT NULL,         -- JSON
    again INTEGER NOT NULL,      -- 1 where a refusal was overridden
    opened TEXT NOT NULL
);
"""
