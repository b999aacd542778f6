//! The cost of a dump to a disk, a bucket and a host, compared with common scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use longshore_testkit::garage::{Garage, Key, Permission, REGION};
use longshore_testkit::sshd::{Account, Sshd};

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, compare};
use super::database::{Database, NAME};
use crate::{Result, setup};

const BUCKET: &str = "bench";

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_ship_bench()?;
    let database = Database::make(bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let (garage, sshd) = (Garage::single_node(), Sshd::start());
    let key = garage.bucket(BUCKET, Permission::Everything);
    let destinations =
        Destinations { bench_dir: &bench_dir, near: bench_dir.folder("near")?, garage: &garage, key, sshd: &sshd };
    let [near_alone, everywhere] = destinations.configure(&database)?;

    let (dump, recipient) = (database.dump(), &bench_dir.recipient);
    let (at_once, in_turn) =
        (destinations.script_at_once(&dump, recipient), destinations.script_in_turn(&dump, recipient));
    let longshore = bench.longshore()?;
    let run = |config: &str| format!("{} --quiet --config {config} run > /dev/null", longshore.display());
    let by_scripts = compare(
        "one dump to a disk, a bucket and a host",
        bench.rounds,
        database.bytes,
        &[
            ("pg_dump -Fc | age | tee: disk, rclone rcat, ssh cat", at_once),
            ("pg_dump -Fc | age > disk; rclone copyto; ssh cat", in_turn),
            ("longshore run: disk, s3, sftp", run(&everywhere)),
        ],
    )?;
    let for_more = compare(
        "a bucket and a host in addition to a disk",
        bench.rounds,
        database.bytes,
        &[("longshore run: disk", run(&near_alone)), ("longshore run: disk, s3, sftp", run(&everywhere))],
    )?;
    Ok(vec![by_scripts, for_more])
}

/// The destinations.
struct Destinations<'a> {
    bench_dir: &'a BenchDir,
    near: PathBuf,
    garage: &'a Garage,
    key: Key,
    sshd: &'a Sshd,
}

impl Destinations<'_> {
    /// Writes a configuration with the disk only and one with all destinations, and returns their
    /// paths.
    fn configure(&self, database: &Database) -> Result<[String; 2]> {
        let secret = self.bench_dir.write("secret", &self.key.secret)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
            .map_err(|error| format!("cannot set the mode of {}: {error}", secret.display()))?;
        let bucket = format!(
            "type = 's3'\nbucket = '{BUCKET}'\nregion = '{REGION}'\nendpoint = 'http://{}'\nallow_http = true\n\
             access_key_id = '{}'\nsecret_access_key_file = '{}'",
            self.garage.address(0),
            self.key.id,
            secret.display()
        );
        let host = self.sshd.settings(Account::Sftp);
        let host = host.as_object().into_iter().flatten().map(|(name, value)| format!("{name} = {value}\n"));
        let host = format!("type = 'sftp'\npath = '{}'\n{}", self.sshd.backups().display(), host.collect::<String>());
        let destinations = [("near", local(&self.near)), ("bucket", bucket), ("host", host)];
        let job = format!("dump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n");
        let configure = |name, destinations| self.bench_dir.configure(name, database, destinations, &job);
        Ok([configure("near.toml", &destinations[..1])?, configure("everywhere.toml", &destinations[..])?])
    }

    /// Returns a script that reads the database once.
    fn script_at_once(&self, dump: &str, recipient: &str) -> String {
        let (folder, backups) = (self.bench_dir.path(""), self.sshd.backups().display().to_string());
        let folder = folder.display();
        format!(
            "{rclone} n=$(date +%s%N); mkfifo {folder}/a$n {folder}/b$n; \
             rclone rcat s:{BUCKET}/$n.age < {folder}/a$n & a=$!; \
             {ssh} \"cat > {backups}/$n.age\" < {folder}/b$n & b=$!; \
             {dump} | age -r {recipient} | tee {folder}/a$n {folder}/b$n > {folder}/near/$n.age; wait $a && wait $b",
            rclone = self.rclone(),
            ssh = self.ssh("ssh"),
        )
    }

    /// Returns a script that writes a file and copies it.
    fn script_in_turn(&self, dump: &str, recipient: &str) -> String {
        let (near, backups) = (self.near.display(), self.sshd.backups().display().to_string());
        format!(
            "{rclone} n=$(date +%s%N); {dump} | age -r {recipient} > {near}/$n.age && \
             rclone copyto {near}/$n.age s:{BUCKET}/$n.age && {ssh} \"cat > {backups}/$n.age\" < {near}/$n.age",
            rclone = self.rclone(),
            ssh = self.ssh("ssh"),
        )
    }

    /// Returns the environment variables with which rclone finds the bucket. A custom list of
    /// certificates would interfere.
    fn rclone(&self) -> String {
        format!(
            "unset AWS_CA_BUNDLE; export RCLONE_CONFIG_S_TYPE=s3 RCLONE_CONFIG_S_PROVIDER=Other RCLONE_CONFIG_S_ENDPOINT=http://{} \
             RCLONE_CONFIG_S_REGION={REGION} RCLONE_CONFIG_S_ACCESS_KEY_ID={} RCLONE_CONFIG_S_SECRET_ACCESS_KEY={} \
             RCLONE_CONFIG=/dev/null;",
            self.garage.address(0),
            self.key.id,
            self.key.secret
        )
    }

    /// Returns a command for a program of OpenSSH, with the options to reach the host.
    fn ssh(&self, program: &str) -> String {
        let settings = self.sshd.settings(Account::Shell);
        let text = |name: &str| settings[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{program} -F /dev/null -i {} -o UserKnownHostsFile={} -o BatchMode=yes -p {} {}",
            text("identity_file"),
            text("known_hosts_file"),
            self.sshd.port(),
            text("host")
        )
    }
}
