//! What it costs to bring one dump to a disk, a bucket and a host: against the scripts that people have for that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use longshore_testkit::garage::{Garage, Key, Permission, REGION};
use longshore_testkit::sshd::{Account, Sshd};

use super::Bench;
use super::contest::{Contest, contest};
use super::database::{Database, NAME};
use crate::{Result, setup};

const BUCKET: &str = "bench";

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    setup::for_ship_bench()?;
    let database = Database::make(bench.scale)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let (garage, sshd) = (Garage::start(), Sshd::start());
    let key = garage.bucket(BUCKET, Permission::Everything);
    let place =
        Place { folder: folder.path(), garage: &garage, key, sshd: &sshd, recipient: recipient(folder.path())? };
    let config = place.configure(&database)?;

    let (dump, recipient) = (database.dump(), &place.recipient);
    let (at_once, in_turn) = (place.script_at_once(&dump, recipient), place.script_in_turn(&dump, recipient));
    let longshore = format!("{} --quiet --config {config} run > /dev/null", bench.longshore()?.display());
    let contest = contest(
        "one dump to a disk, a bucket and a host",
        bench.rounds,
        database.bytes,
        &[
            ("pg_dump -Fc | age | tee: disk, rclone rcat, ssh cat", at_once),
            ("pg_dump -Fc | age > disk; rclone copyto; ssh cat", in_turn),
            ("longshore run: disk, s3, sftp", longshore),
        ],
    )?;
    Ok(vec![contest])
}

/// Where things are.
struct Place<'a> {
    folder: &'a Path,
    garage: &'a Garage,
    key: Key,
    sshd: &'a Sshd,
    recipient: String,
}

impl Place<'_> {
    /// Writes a configuration, and says where.
    fn configure(&self, database: &Database) -> Result<String> {
        let failed = |error| format!("cannot write in {}: {error}", self.folder.display());
        let (near, secret, config) =
            (self.folder.join("near"), self.folder.join("secret"), self.folder.join("config.toml"));
        fs::create_dir(&near).map_err(failed)?;
        fs::write(&secret, &self.key.secret).map_err(failed)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let host = self.sshd.settings(Account::Sftp);
        let host = host.as_object().into_iter().flatten().map(|(name, value)| format!("{name} = {value}\n"));
        let text = format!(
            "lock_dir = '{folder}/locks'\nstate_dir = '{folder}/state'\n[cluster.main]\nconnection = \"{connection}\"\nbin_dir = '{bin_dir}'\n\
             [destination.near]\ntype = 'local'\npath = '{near}'\n\
             [destination.bucket]\ntype = 's3'\nbucket = '{BUCKET}'\nregion = '{REGION}'\nendpoint = 'http://{store}'\nallow_http = true\n\
             access_key_id = '{id}'\nsecret_access_key_file = '{secret}'\n\
             [destination.host]\ntype = 'sftp'\npath = '{backups}'\n{host}\
             [job.bench]\ncluster = 'main'\ndump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n\
             encrypt = {{ type = 'age', recipients = ['{recipient}'] }}\nship = ['near', 'bucket', 'host']\n",
            folder = self.folder.display(),
            connection = database.connection(),
            bin_dir = database.bin_dir(),
            near = near.display(),
            store = self.garage.address(0),
            id = self.key.id,
            secret = secret.display(),
            backups = self.sshd.backups().display(),
            host = host.collect::<String>(),
            recipient = self.recipient,
        );
        fs::write(&config, text).map_err(failed)?;
        Ok(config.display().to_string())
    }

    /// The script of somebody who reads the database once.
    fn script_at_once(&self, dump: &str, recipient: &str) -> String {
        let (folder, backups) = (self.folder.display(), self.sshd.backups().display().to_string());
        format!(
            "{rclone} n=$(date +%s%N); mkfifo {folder}/a$n {folder}/b$n; \
             rclone rcat s:{BUCKET}/$n.age < {folder}/a$n & a=$!; \
             {ssh} \"cat > {backups}/$n.age\" < {folder}/b$n & b=$!; \
             {dump} | age -r {recipient} | tee {folder}/a$n {folder}/b$n > {folder}/near/$n.age; wait $a && wait $b",
            rclone = self.rclone(),
            ssh = self.ssh("ssh"),
        )
    }

    /// The script of somebody who keeps a file and copies it.
    fn script_in_turn(&self, dump: &str, recipient: &str) -> String {
        let (folder, backups) = (self.folder.display(), self.sshd.backups().display().to_string());
        format!(
            "{rclone} n=$(date +%s%N); {dump} | age -r {recipient} > {folder}/near/$n.age && \
             rclone copyto {folder}/near/$n.age s:{BUCKET}/$n.age && {ssh} \"cat > {backups}/$n.age\" < {folder}/near/$n.age",
            rclone = self.rclone(),
            ssh = self.ssh("ssh"),
        )
    }

    /// What makes the bucket known to rclone, which takes it from the environment; certificates of others would be in its way.
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

    /// A program of OpenSSH's, with what it needs to reach the host.
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

/// A recipient whose identity lies in the folder.
pub(super) fn recipient(folder: &Path) -> Result<String> {
    let made = Command::new("age-keygen").arg("-o").arg(folder.join("identity.txt")).output();
    let made = made.map_err(|error| format!("cannot run age-keygen: {error}"))?;
    let told = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    told.strip_prefix("Public key: ").map(str::to_owned).ok_or_else(|| format!("age-keygen says: {told}"))
}
