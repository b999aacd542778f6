//! Manifests in the server's form.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Returns a manifest with its last line added: the SHA-256 of the lines before.
pub(crate) fn finished(lines: &str) -> Vec<u8> {
    let digest = Sha256::digest(lines).iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    });
    format!("{lines}\"Manifest-Checksum\": \"{digest}\"}}\n").into_bytes()
}

/// Returns the line of one file, with its CRC-32C.
pub(crate) fn line(path: &str, content: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, content) as u32;
    format!(
        "{{ \"Path\": \"{path}\", \"Size\": {}, \"Last-Modified\": \"2026-11-29 01:02:03 GMT\", \
         \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{:08x}\" }}",
        content.len(),
        crc.swap_bytes()
    )
}

/// Returns a manifest of files. Version 2 has the system identifier 1.
pub(crate) fn of_files(version: u32, files: &[(&str, &[u8])], ranges: &str) -> Vec<u8> {
    let lines: Vec<String> = files.iter().map(|(path, content)| line(path, content)).collect();
    let system = if version == 2 { "\"System-Identifier\": 1,\n" } else { "" };
    finished(&format!(
        "{{ \"PostgreSQL-Backup-Manifest-Version\": {version},\n{system}\"Files\": [\n{}\n],\n\
         \"WAL-Ranges\": [\n{ranges}\n],\n",
        lines.join(",\n")
    ))
}

/// Returns the lines of a manifest but for the last one.
pub(crate) fn lines_before_checksum(manifest: &[u8]) -> String {
    let text = std::str::from_utf8(manifest).unwrap();
    let end = text.find("\"Manifest-Checksum\"").unwrap();
    text[..end].to_owned()
}

/// Replaces the sizes and checksums of files, so that the manifest fits their contents.
pub(crate) fn refit(manifest: &[u8], contents: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let lines = lines_before_checksum(manifest);
    let refitted = lines.lines().map(|line_before| {
        let path = line_before.strip_prefix("{ \"Path\": \"").and_then(|rest| rest.split('"').next());
        match path.and_then(|path| Some((path, contents(path)?))) {
            Some((path, content)) => line(path, &content) + if line_before.ends_with(',') { "," } else { "" },
            None => line_before.to_owned(),
        }
    });
    finished(&(refitted.collect::<Vec<_>>().join("\n") + "\n"))
}
