"""The tables of the record. Scores are one row a metric, so that any SQLite tool can ask about them."""

VERSION = 1

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    identity TEXT NOT NULL,      -- JSON: what must stay equal for the sweep to go on
    settings TEXT NOT NULL,      -- JSON: how to read the record (metrics, directions, roles)
    environment TEXT NOT NULL,   -- JSON: versions, device, flags
    created TEXT NOT NULL        -- UTC, ISO 8601
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
