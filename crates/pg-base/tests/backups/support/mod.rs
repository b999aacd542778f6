//! Manifests, archives and real backups for tests.

pub(crate) mod damage;
pub(crate) mod manifest;
pub(crate) mod real;
pub(crate) mod tar;

use std::io::{self, Read};

/// A reader that fails.
pub(crate) struct BrokenReader;

impl Read for BrokenReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("unplugged"))
    }
}

/// Verifies an archive.
pub(crate) fn verify(archive: &[u8]) -> longshore_pg_base::Result<longshore_pg_base::Facts> {
    longshore_pg_base::verify::read(archive, &Default::default(), &mut |_| {})
}

/// Returns the pages of a backup whose cluster has checksums: their number, the damaged ones with
/// paths and blocks, and the number of younger ones.
pub(crate) fn pages(facts: &longshore_pg_base::Facts) -> (u64, Vec<(String, u32)>, u64) {
    match &facts.page_checksums {
        longshore_pg_base::facts::PageChecksums::Off => panic!("the cluster has checksums"),
        longshore_pg_base::facts::PageChecksums::On { pages, damaged, younger_pages } => {
            assert_eq!(damaged.count, damaged.first.len() as u64);
            let first = damaged.first.iter().map(|page| (page.path.clone(), page.block)).collect();
            (*pages, first, *younger_pages)
        }
    }
}

/// Returns the members with a manifest that fits them: sizes and checksums are computed again.
pub(crate) fn refitted(members: &[tar::Member]) -> Vec<tar::Member> {
    let content = |path: &str| Some(members.iter().find(|member| member.path == path)?.content.clone());
    let refitted = members.iter().map(|member| match member.path.as_str() {
        "backup_manifest" => tar::Member::file("backup_manifest", &manifest::refit(&member.content, &content)),
        _ => member.clone(),
    });
    refitted.collect()
}
