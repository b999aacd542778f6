//! Archives with renamed roles, restored where the old roles do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use longshore_pg_archive::{ErrorKind, offsets, rewrite};
use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use proptest::collection::vec;

use crate::support::mutation::{any_mutation, mutated, runner};
use crate::support::patching::apply_patches;
use crate::support::{self, Archive, Target, release};

/// Objects whose names and texts look like roles, and roles with misleading names.
const LOOKALIKES: &str = r#"
    CREATE ROLE app; CREATE ROLE "TO app; --"; CREATE ROLE "Ödön";
    CREATE SCHEMA app AUTHORIZATION app;
    CREATE TABLE app.app (app text DEFAULT 'GRANT ALL ON x TO app;', "TO" name DEFAULT 'app');
    ALTER TABLE app.app OWNER TO "Ödön";
    GRANT SELECT (app, "TO") ON app.app TO app WITH GRANT OPTION;
    GRANT ALL ON app.app TO "TO app; --", "select", PUBLIC;
    SET SESSION AUTHORIZATION app; GRANT SELECT (app) ON app.app TO "Ödön"; RESET SESSION AUTHORIZATION;
    CREATE POLICY app ON app.app TO app, "TO app; --" USING (app = 'app' AND "TO" = CURRENT_USER) WITH CHECK (app <> 'TO app');
    CREATE POLICY all_rows ON app.app USING (app = 'app');
    CREATE FUNCTION app.app(app text, "TO" text) RETURNS text LANGUAGE sql AS $$ SELECT 'GRANT ALL ON x TO app;' || app $$;
    REVOKE ALL ON FUNCTION app.app(text, text) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION app.app(text, text) TO app, "Ödön";
    ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA app GRANT SELECT ON TABLES TO "select" WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES FOR ROLE "Ödön" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    CREATE FOREIGN DATA WRAPPER app; CREATE SERVER app FOREIGN DATA WRAPPER app;
    CREATE USER MAPPING FOR app SERVER app OPTIONS ("user" 'app');
    CREATE USER MAPPING FOR PUBLIC SERVER app;
    GRANT USAGE ON FOREIGN SERVER app TO app;
    GRANT CONNECT ON DATABASE zoo TO app;
    ALTER ROLE app IN DATABASE zoo SET search_path = 'app';
    ALTER ROLE "Ödön" IN DATABASE zoo SET search_path = 'app';
    SELECT lo_create(77); ALTER LARGE OBJECT 77 OWNER TO app; GRANT SELECT ON LARGE OBJECT 77 TO "TO app; --";
"#;

/// The query for everything in a database that names a role: kind, name, owner, and the roles in
/// each part.
const NAMED: &str = r#"
    WITH privilege(kind, name, owner, acl) AS (
        SELECT 'relation', oid::regclass::text, relowner, relacl FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
            AND relnamespace <> 'pg_toast'::regnamespace
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, NULL, attacl FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384
        UNION ALL SELECT 'function', oid::regprocedure::text, proowner, proacl FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT 'type', oid::regtype::text, typowner, typacl FROM pg_type WHERE oid >= 16384
        UNION ALL SELECT 'schema', nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
        UNION ALL SELECT 'wrapper', fdwname, fdwowner, fdwacl FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'server', srvname, srvowner, srvacl FROM pg_foreign_server
        UNION ALL SELECT 'language', lanname, lanowner, lanacl FROM pg_language
        UNION ALL SELECT 'large object', oid::text, lomowner, lomacl FROM pg_largeobject_metadata
        UNION ALL SELECT 'database', datname, datdba, datacl FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT 'default ' || defaclobjtype::text, coalesce(nullif(defaclnamespace, 0)::regnamespace::text, '-'), defaclrole, defaclacl FROM pg_default_acl
    ), named(kind, name, part, role) AS (
        SELECT kind, name, 'owner', owner FROM privilege WHERE owner IS NOT NULL
        UNION ALL SELECT kind, name, privilege_type || is_grantable || ' to', grantee FROM privilege, aclexplode(acl)
        UNION ALL SELECT kind, name, privilege_type || is_grantable || ' by', grantor FROM privilege, aclexplode(acl)
        UNION ALL SELECT 'policy', polrelid::regclass || '.' || polname || ' ' || coalesce(pg_get_expr(polqual, polrelid), '-')
            || ' ' || coalesce(pg_get_expr(polwithcheck, polrelid), '-'), 'to', unnest(polroles) FROM pg_policy
        UNION ALL SELECT 'mapping', srvname || ' ' || coalesce(umoptions::text, ''), 'of', umuser FROM pg_user_mappings
        UNION ALL SELECT 'setting', setconfig::text, 'of', setrole FROM pg_db_role_setting, pg_database d
            WHERE setdatabase = d.oid AND datname = current_database()
    )
    SELECT json_build_array(kind, name, part, CASE role WHEN 0 THEN '' ELSE pg_get_userbyid(role) END) FROM named
"#;

type Named = BTreeSet<(String, String, String, String)>;

fn named(cluster: &Cluster) -> Named {
    cluster.psql(sample::ZOO, NAMED).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn with_lookalikes(installation: &Installation) -> Cluster {
    let cluster = Cluster::start(installation, &[]);
    sample::load_zoo(&cluster);
    cluster.psql(sample::ZOO, LOOKALIKES);
    cluster
}

fn dump(cluster: &Cluster, installation: &Installation, options: &[&str]) -> Vec<u8> {
    let mut pg_dump = Command::new(installation.program("pg_dump"));
    pg_dump.env_clear().arg("-d").arg(format!("{} dbname={}", cluster.connection(), sample::ZOO));
    let output = pg_dump.args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Returns odd new names that share nothing with the old ones.
fn map_of(bytes: &[u8]) -> BTreeMap<String, String> {
    let roles = support::read(bytes).unwrap().roles;
    let foreign = roles.into_iter().filter(|role| role != "postgres" && !role.starts_with("pg_"));
    foreign.enumerate().map(|(number, role)| (role, format!("new \"{number}'; Ő TO zoo_keeper"))).collect()
}

/// Restores into a cluster without the old roles, and returns everything that names roles.
fn restored(installation: &Installation, map: &BTreeMap<String, String>, source: &Path) -> Named {
    let target = Cluster::start(installation, &[]);
    // In the order of the old names, since the order of creation is visible.
    for new in map.values() {
        target.psql("postgres", &format!("CREATE ROLE \"{}\"", new.replace('"', "\"\"")));
    }
    let mut pg_restore = Command::new(installation.program("pg_restore"));
    pg_restore
        .env_clear()
        .args(["--exit-on-error", "--create", "-d"])
        .arg(format!("{} dbname=postgres", target.connection()));
    let output = pg_restore.arg(source).output().unwrap();
    assert!(output.status.success(), "{} {}", installation.major, String::from_utf8_lossy(&output.stderr));
    named(&target)
}

#[test]
fn restores_renamed_roles_without_the_old_ones() {
    restore_renamed_roles(&release::newest());
}

/// Restores an archive with renamed roles, and compares everything that names roles.
fn restore_renamed_roles(installation: &Installation) {
    let cluster = with_lookalikes(installation);
    let bytes = dump(&cluster, installation, &["--format=custom"]);
    let map = map_of(&bytes);
    assert!(map.len() > 10, "{map:?}");
    let mut rewritten = Vec::new();
    let found = rewrite::roles(&bytes[..], &mut rewritten, &map).unwrap();
    assert_eq!(found, map.keys().cloned().collect::<BTreeSet<_>>());
    let before = support::read(&bytes).unwrap();
    let patches = offsets::missing(&rewritten[..]).unwrap();
    let rewritten = apply_patches(rewritten, &patches);
    let after = support::read(&rewritten).unwrap();
    assert_eq!((after.tables, after.large_objects), (before.tables, before.large_objects));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &rewritten).unwrap();
    let expected: Named = named(&cluster)
        .into_iter()
        .map(|(kind, name, part, role)| (kind, name, part, map.get(&role).cloned().unwrap_or(role)))
        .collect();
    let there = restored(installation, &map, file.path());
    let (missing, surplus): (Vec<_>, Vec<_>) =
        (expected.difference(&there).collect(), there.difference(&expected).collect());
    assert!(missing.is_empty() && surplus.is_empty(), "{} {missing:#?} {surplus:#?}", installation.major);
}

#[test]
fn renames_roles_in_toc_of_directory() {
    let installation = Installation::newer();
    let cluster = with_lookalikes(&installation);
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("dump");
    dump(&cluster, &installation, &["--format=directory", "--file", directory.to_str().unwrap()]);
    let map = map_of(&dump(&cluster, &installation, &["--format=custom"]));
    let toc = fs::read(directory.join("toc.dat")).unwrap();
    let mut rewritten = Vec::new();
    rewrite::roles(&toc[..], &mut rewritten, &map).unwrap();
    fs::write(directory.join("toc.dat"), rewritten).unwrap();
    let there = restored(&installation, &map, &directory);
    assert!(there.iter().all(|(_, _, _, role)| !map.contains_key(role)));
    assert_eq!(there.len(), named(&cluster).len());
}

#[test]
fn rewritten_archives_remain_intact() {
    let archives = support::archives_of_two_releases();
    archive_without_mapped_roles_is_unchanged(&archives);
    mutated_archives_never_panic(&archives);
}

fn archive_without_mapped_roles_is_unchanged(archives: &[Archive]) {
    let map = BTreeMap::from([("missing".to_owned(), "other".to_owned())]);
    for archive in archives {
        let mut rewritten = Vec::new();
        assert_eq!(rewrite::roles(&archive.bytes[..], &mut rewritten, &map).unwrap(), BTreeSet::new());
        if archive.target == Target::File {
            let patches = offsets::missing(&rewritten[..]).unwrap();
            rewritten = apply_patches(rewritten, &patches);
        }
        assert!(rewritten == archive.bytes, "{}", archive.name);
    }
}

fn mutated_archives_never_panic(archives: &[Archive]) {
    let map = BTreeMap::from([("postgres".to_owned(), "other".to_owned())]);
    runner(300)
        .run(&(0..archives.len(), vec(any_mutation(), 1..4)), |(archive, mutations)| {
            let mutated = mutated(&archives[archive].bytes, &mutations);
            let mut rewritten = Vec::new();
            // A valid archive remains valid.
            if rewrite::roles(&mutated[..], &mut rewritten, &map).is_ok() && support::read(&mutated).is_ok() {
                assert!(support::read(&rewritten).is_ok());
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn rejects_invalid_roles_and_archives() {
    for name in ["", "public", "none", "a\0b"] {
        for map in [[(name, "a")], [("a", name)]] {
            let map = map.map(|(old, new)| (old.to_owned(), new.to_owned())).into();
            let error = rewrite::roles(&b"PGDMP"[..], Vec::new(), &map).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        }
    }
    let error = rewrite::roles(&b"-- a script\n"[..], Vec::new(), &BTreeMap::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
}

/// The other releases.
mod slow {
    use super::{release, restore_renamed_roles};

    #[test]
    fn restores_renamed_roles_on_older_releases() {
        release::older().iter().for_each(restore_renamed_roles);
    }
}
