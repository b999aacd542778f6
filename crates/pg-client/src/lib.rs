//! PostgreSQL's client programs: found by version, run as children whose streams keep the promise, asked in JSON.
