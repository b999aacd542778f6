//! The files of a data directory that no base backup contains.
//!
//! The lists are `excludeDirContents` and `excludeFiles` of `src/backend/backup/basebackup.c`, the
//! rules those of `sendDir`: a server creates these files anew when it starts, or resets them.

use std::collections::HashSet;

use crate::relation_file::{Fork, RelationFile};

/// The directories whose content a server creates anew. `pg_wal` is another one: its segments come
/// at the end of a backup, or from the archive.
const EMPTIED: [&str; 8] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal"];

/// The files of a running server, and those of a backup, at the top of the data directory.
const OMITTED: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
];

/// The prefix of the names of temporary files and their directories.
const TEMPORARY: &[u8] = b"pgsql_tmp";
/// The prefix of the names of caches of relations.
const RELATION_CACHE: &[u8] = b"pg_internal.init";

/// Returns true if a backup contains the directory at `path` without its content.
pub fn is_emptied(path: &[u8]) -> bool {
    EMPTIED.iter().any(|name| name.as_bytes() == path)
}

/// Returns true if a backup lacks the file or directory at `path`.
pub fn is_omitted(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name.starts_with(TEMPORARY)
        || name.starts_with(RELATION_CACHE)
        || OMITTED.iter().any(|omitted| omitted.as_bytes() == path)
        || (path.contains(&b'/') && is_of_temporary_relation(name))
}

/// Returns true if a name is one of a temporary relation: `t<number>_<number>`, with a fork and a
/// segment (`looks_like_temp_rel_name` in `src/backend/storage/file/fd.c`).
fn is_of_temporary_relation(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"t") else { return false };
    let rest = rest.split(|byte| *byte == b'.').next().unwrap_or(rest);
    let mut parts = rest.split(|byte| *byte == b'_');
    let is_number =
        |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    let numbers = [parts.next(), parts.next()];
    numbers.into_iter().all(is_number) && matches!(parts.next(), None | Some(b"fsm" | b"vm" | b"init"))
}

/// The unlogged relations of one directory, which have an initial fork. A backup contains only this
/// fork of them: a server resets the others when it recovers.
#[derive(Debug, Default)]
pub struct UnloggedRelations(HashSet<u32>);

impl UnloggedRelations {
    /// Finds the unlogged relations among the paths of one directory.
    pub fn of<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Self {
        let initial = paths.filter_map(RelationFile::parse).filter(|file| file.fork == Fork::Init);
        Self(initial.map(|file| file.relation.number).collect())
    }

    /// Returns true if a backup lacks the file at `path`.
    pub fn omit(&self, path: &[u8]) -> bool {
        let file = RelationFile::parse(path).filter(|file| file.fork != Fork::Init);
        !self.0.is_empty() && file.is_some_and(|file| self.0.contains(&file.relation.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_running_server_are_omitted() {
        for path in [
            "postmaster.pid",
            "backup_label",
            "base/5/pg_internal.init",
            "base/5/pg_internal.init.4711",
            "global/pg_internal.init",
            "base/pgsql_tmp",
            "base/5/t3_16384",
            "base/5/t3_16384_fsm",
            "pg_tblspc/16398/PG_18_202506291/5/t12_16384_vm.1",
        ] {
            assert!(is_omitted(path.as_bytes()), "{path}");
        }
        for path in ["PG_VERSION", "base/5/16384", "base/5/postmaster.pid", "base/5/t_1", "base/5/t1_2_x", "t3_4"] {
            assert!(!is_omitted(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn only_directories_at_the_top_are_emptied() {
        assert!(is_emptied(b"pg_wal") && is_emptied(b"pg_replslot"));
        assert!(!is_emptied(b"pg_logical") && !is_emptied(b"base/pg_wal"));
    }

    #[test]
    fn unlogged_relations_keep_their_initial_fork() {
        let paths = ["base/5/16384", "base/5/16384_init", "base/5/16384_vm", "base/5/16384.1", "base/5/16385"];
        let unlogged = UnloggedRelations::of(paths.iter().map(|path| path.as_bytes()));
        let kept: Vec<_> = paths.into_iter().filter(|path| !unlogged.omit(path.as_bytes())).collect();
        assert_eq!(kept, ["base/5/16384_init", "base/5/16385"]);
    }
}
