"""The tables of a store. Scores are one row per trial, metric and step, so that any SQLite tool can query them."""

VERSION = 6

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- of a dropped sweep never used again: a process may still hold it
    name TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    identity TEXT NOT NULL,      -- JSON: what must stay equal when the sweep is run again
    settings TEXT NOT NULL,      -- JSON: how to read the sweep (metrics, objective, modes, roles)
    created TEXT NOT NULL        -- UTC, ISO 8601
);

CREATE TABLE environments (      -- versions, device and flags that trials were trained under
    id INTEGER PRIMARY KEY,
    described TEXT NOT NULL UNIQUE  -- JSON
);

CREATE TABLE programs (          -- tile programs that trials were trained by
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,        -- its fingerprint
    width INTEGER NOT NULL,      -- lanes of a tile
    UNIQUE (digest, width)
);

CREATE TABLE owners (            -- processes that hold trials
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE trials (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    sweep INTEGER NOT NULL REFERENCES sweeps,
    id TEXT NOT NULL,
    extension INTEGER NOT NULL DEFAULT 0,  -- 1 for a finished trial on its way to more steps; see docs/record.md
    config_id TEXT NOT NULL,
    config TEXT NOT NULL,        -- JSON
    seed INTEGER NOT NULL,
    steps INTEGER NOT NULL,      -- how long the trial trains
    done INTEGER NOT NULL DEFAULT 0,  -- steps trained and recorded
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'finished', 'stopped', 'failed')),
    nonfinite INTEGER,           -- the first step at which a metric was not finite
    reason TEXT,                 -- why it failed or was stopped, in one line
    traceback TEXT,              -- of the error that it failed with
    program INTEGER REFERENCES programs,
    owner INTEGER REFERENCES owners,  -- the running process that trains it
    environment INTEGER REFERENCES environments,
    -- of an ended trial's row and scores: SHA-256's first 8 bytes; before, 4 more, so that no row outgrows its page
    digest BLOB NOT NULL DEFAULT (zeroblob(12)),
    UNIQUE (sweep, id, extension)
);

CREATE TABLE metrics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE scores (
    trial INTEGER NOT NULL REFERENCES trials,
    metric INTEGER NOT NULL REFERENCES metrics,
    step INTEGER NOT NULL,
    value REAL,                  -- NULL is NaN
    PRIMARY KEY (trial, metric, step)
) WITHOUT ROWID;

CREATE TABLE checkpoints (       -- files in STORE.checkpoints, written before their rows
    sweep INTEGER NOT NULL REFERENCES sweeps,
    tile TEXT NOT NULL,          -- a hash of its trials; for a finished trial's own state, the trial's id
    step INTEGER NOT NULL,
    file TEXT NOT NULL,          -- trials that finish together share one
    sha256 TEXT NOT NULL,
    trials TEXT NOT NULL,        -- JSON: trial ids in the order of the lanes; "" for one that was dropped
    finished INTEGER NOT NULL,   -- 1 for one trial's state at its end
    PRIMARY KEY (sweep, tile, step)
) WITHOUT ROWID;

CREATE INDEX unfinished_checkpoints ON checkpoints (sweep) WHERE finished = 0;

CREATE TABLE tests (             -- the ledger: every look at a test split; it outlives the sweeps
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    data TEXT NOT NULL,          -- hash of the test split
    look TEXT NOT NULL,          -- hash of what is tested: the sweep's identity, the programs, the config, the step
    sweep TEXT NOT NULL,         -- the sweep's name
    config_id TEXT NOT NULL,
    config TEXT NOT NULL,
    metric TEXT NOT NULL,        -- the objective that chose the config
    mode TEXT NOT NULL,          -- "min" or "max"
    rule TEXT NOT NULL,          -- how the selection compared configs, such as "mean"
    at TEXT NOT NULL,            -- which evaluation it compared: "last", "best" or a step
    step INTEGER NOT NULL,       -- the step whose parameters were tested
    seeds TEXT NOT NULL,         -- JSON
    again INTEGER NOT NULL,      -- 1 where a refusal was overridden
    owner TEXT,                  -- the process that is at it
    opened TEXT,                 -- UTC, ISO 8601, set before the split is evaluated; NULL while it is only reserved
    scores TEXT                  -- JSON: metric -> one value per seed; NULL until they are there
);

CREATE TABLE batches (           -- what a model-based search has proposed, and what it was told
    sweep INTEGER NOT NULL REFERENCES sweeps,
    number INTEGER NOT NULL,     -- 0 is what it was told before its first proposal
    configs TEXT NOT NULL,       -- JSON: the configs in order
    told TEXT,                   -- JSON: for each config the objectives and the step it was stopped at; NULL until all ended
    PRIMARY KEY (sweep, number)
) WITHOUT ROWID;
"""
