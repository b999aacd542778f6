//! An initialised data directory for each PostgreSQL version, made once and copied for each
//! cluster. A copy takes a tenth of initdb's time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::folder::give_to_server_user;
use super::installation::Installation;
use super::process::{as_server_user, run};
use super::{cache, system_identifier};

/// Creates the data directory `data` with a unique system identifier.
pub(super) fn copy(installation: &Installation, data: &Path) {
    let mut copy = as_server_user(Path::new("cp"));
    copy.args(["-a", "--reflink=auto"]).arg(template(installation)).arg(data);
    run(copy);
    system_identifier::renew(data).expect("the control file and the first WAL segment can be rewritten");
}

/// Returns the template of a version. The first process that needs it creates it while others wait.
fn template(installation: &Installation) -> PathBuf {
    let folder = cache::folder().join("template");
    let template = folder.join(&installation.version);
    if template.exists() {
        return template;
    }
    let created = cache::make().and_then(|_| fs::create_dir_all(&folder));
    created.unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
    give_to_server_user(&folder);
    let lock = folder.join(format!("{}.lock", installation.version));
    let lock = File::create(&lock).expect("a lock file can be made");
    lock.lock().expect("a file can be locked");
    if !template.exists() {
        let unfinished = folder.join(format!("{}.new", installation.version));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).expect("the folder of a killed process can be removed");
        }
        run(initdb(installation, &unfinished));
        fs::rename(&unfinished, &template).expect("a finished template can be renamed");
    }
    template
}

pub(super) fn initdb(installation: &Installation, data: &Path) -> std::process::Command {
    let mut initdb = as_server_user(&installation.program("initdb"));
    initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
    initdb.args(["--no-sync", "-k", "-D"]).arg(data);
    initdb
}
