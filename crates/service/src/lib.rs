//! What happens when: configuration, registry, jobs, checks, restores, locks and reports.
