//! The user that runs the tasks of a configuration, and its permissions.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// Returns the user that runs the tasks of a configuration: the requested one, the owner of the
/// file, or, if that is root, the user of the group that may read the file.
pub(super) fn run_user(config: &Path, requested: Option<&str>) -> Result<User> {
    let unknown = |name: String| {
        Error::new(Stage::Config, Kind::Usage, name, "there is no such user").hint("name one with --run-as USER")
    };
    if let Some(name) = requested {
        return match User::from_name(name) {
            Ok(Some(user)) => Ok(user),
            _ => Err(unknown(name.to_owned())),
        };
    }
    let metadata = config
        .metadata()
        .map_err(|error| Error::io(Stage::Config, config.display().to_string(), "cannot read its metadata", error))?;
    if metadata.uid() == 0 && metadata.gid() != 0 && metadata.mode() & 0o040 != 0 {
        let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten();
        let of_group = group.and_then(|group| User::from_name(&group.name).ok().flatten());
        if let Some(user) = of_group {
            return Ok(user);
        }
    }
    let owner = User::from_uid(Uid::from_raw(metadata.uid())).ok().flatten();
    owner.ok_or_else(|| unknown(format!("uid {}", metadata.uid())))
}

/// Fails if the user may not run the program or read the configuration.
pub(super) fn expect_permitted(user: &User, program: &Path, config: &Path) -> Result<()> {
    let denied = |path: &Path, message: String, hint: String| {
        Err(Error::new(Stage::Config, Kind::Denied, path.display().to_string(), message).hint(hint))
    };
    let name = &user.name;
    if !permits(user, program, 0o1) {
        let hint = "install it where every user may run it, such as /usr/local/bin, or pass --run-as USER";
        return denied(program, format!("user \"{name}\" may not run the program"), hint.to_owned());
    }
    if user.uid.is_root() {
        longshore_program::expect_protected(Stage::Config, program)?;
    }
    if !permits(user, config, 0o4) {
        let folder = config.parent().unwrap_or(config).display();
        let config_name = config.display();
        let hint = format!(
            "permit it: chown root:{name} {folder} {config_name}; chmod 750 {folder}; chmod 640 {config_name}; or pass \
             --run-as USER"
        );
        return denied(config, format!("user \"{name}\" may not read the configuration"), hint);
    }
    Ok(())
}

/// Returns true if the user may access a file with these bits of its mode, and enter all folders
/// above. A file that does not exist is another error.
fn permits(user: &User, path: &Path, bits: u32) -> bool {
    if user.uid.is_root() {
        return true;
    }
    let groups = CString::new(user.name.clone()).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
    let groups: Vec<u32> = groups.unwrap_or_else(|| vec![user.gid]).iter().map(|group| group.as_raw()).collect();
    path.ancestors().enumerate().all(|(depth, path)| {
        let Ok(metadata) = path.metadata() else { return true };
        let bits = if depth == 0 { bits } else { 0o1 };
        let shift = match metadata.uid() == user.uid.as_raw() {
            true => 6,
            false if groups.contains(&metadata.gid()) => 3,
            false => 0,
        };
        (metadata.mode() >> shift) & bits == bits
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    fn user(name: &str) -> User {
        User::from_name(name).unwrap().unwrap()
    }

    #[test]
    fn user_needs_the_program_and_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let [program, config] = ["longshore", "config.toml"].map(|name| folder.path().join(name));
        for (path, bits) in [(&program, 0o755), (&config, 0o600)] {
            fs::write(path, "").unwrap();
            mode(path, bits);
        }
        mode(folder.path(), 0o700);
        let message = |name: &str| expect_permitted(&user(name), &program, &config).unwrap_err().chain();
        expect_permitted(&user("root"), &program, &config).unwrap();
        assert!(message("postgres").contains("may not run the program"), "a folder of mode 700");
        mode(folder.path(), 0o755);
        assert!(message("postgres").contains("may not read the configuration"), "{}", message("postgres"));
        mode(&config, 0o644);
        expect_permitted(&user("postgres"), &program, &config).unwrap();
    }

    #[test]
    fn run_user_is_owner_or_group_of_the_configuration() {
        if !Uid::effective().is_root() {
            // Only root can give files to others.
            assert_eq!(run_user(Path::new("/etc/passwd"), None).unwrap().name, "root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        fs::write(&config, "").unwrap();
        let postgres = user("postgres");
        let name = |requested| run_user(&config, requested).unwrap().name;
        assert_eq!(name(None), "root");
        assert_eq!(name(Some("postgres")), "postgres");
        chown(&config, None, Some(postgres.gid.as_raw())).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(name(None), "root", "the group may not read the file");
        fs::set_permissions(&config, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(name(None), "postgres");
        chown(&config, Some(postgres.uid.as_raw()), Some(0)).unwrap();
        assert_eq!(name(None), "postgres");
        assert!(run_user(&config, Some("absent")).unwrap_err().remedy().unwrap().contains("--run-as"));
    }
}
