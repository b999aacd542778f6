//! The container images: builds without a network, and the tasks of the Helm chart in them.

mod slow {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::chown;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use longshore_testkit::cluster::Installation;
    use longshore_testkit::container_base;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use crate::support::packaging::{arguments, build_deb, of_kind, packaging, pod, render, variables};
    use crate::support::{CommandOutput, Job, TestEnv, finish};

    /// The user of the images.
    const USER: u32 = 65532;

    /// The directories that the user may write.
    const WRITABLE: [&str; 3] = ["/tmp", "/var/lib/longshore", "/var/tmp"];

    /// The images of a test, which are discarded.
    struct Images {
        folder: TempDir,
    }

    impl Images {
        /// Imports the base image.
        fn new() -> Self {
            let folder = tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap();
            fs::create_dir(folder.path().join("context")).unwrap();
            let images = Self { folder };
            let container = images.buildah(&["from", "--name", "base", "scratch"]).expect(0).stdout;
            let archive = container_base::archive();
            images.buildah(&["add", "--quiet", container.trim(), archive.to_str().unwrap(), "/"]).expect(0);
            images.buildah(&["commit", "--quiet", "--rm", container.trim(), "localhost/base"]).expect(0);
            images
        }

        /// Returns the folder of the files that images contain.
        fn context(&self) -> PathBuf {
            self.folder.path().join("context")
        }

        /// Runs buildah without a network, with images of its own.
        fn buildah(&self, arguments: &[&str]) -> CommandOutput {
            let mut command = Command::new("unshare");
            command.args(["--net", "buildah", "--storage-driver", "overlay"]);
            command.arg("--root").arg(self.folder.path().join("store"));
            command.arg("--runroot").arg(self.folder.path().join("run"));
            finish(command.args(arguments))
        }

        /// Builds an image, and a container of the same name.
        fn build(&self, file: &str, name: &str, arguments: &[&str]) {
            let (file, context) = (packaging("container").join(file), self.context());
            let tag = format!("localhost/{name}");
            let mut all = vec!["bud", "--quiet", "--isolation", "chroot", "--file", file.to_str().unwrap()];
            all.extend(["--tag", &tag, "--build-arg", "BASE=localhost/base"]);
            all.extend(arguments.iter().flat_map(|argument| ["--build-arg", *argument]));
            all.push(context.to_str().unwrap());
            self.buildah(&all).expect(0);
            self.buildah(&["from", "--name", name, &tag]).expect(0);
        }

        /// Runs a program in a container, with options of buildah.
        fn run(&self, name: &str, options: &[&str], program: &[&str]) -> CommandOutput {
            let chroot = ["run", "--isolation", "chroot"];
            self.buildah(&[&chroot[..], options, &[name, "--"], program].concat())
        }

        /// Returns the settings of an image.
        fn settings(&self, name: &str) -> Value {
            let found = self.buildah(&["inspect", "--type", "image", &format!("localhost/{name}")]).expect(0);
            serde_json::from_str::<Value>(&found.stdout).unwrap()["OCIv1"]["config"].clone()
        }
    }

    impl Drop for Images {
        fn drop(&mut self) {
            self.buildah(&["rm", "--all"]);
            self.buildah(&["rmi", "--all", "--force"]);
        }
    }

    /// Changes the owner of a file or folder to the user of the images.
    fn give(path: &Path) {
        chown(path, Some(USER), Some(USER)).unwrap();
    }

    /// Returns the directories and files that the user of a container may write.
    fn writable(images: &Images, name: &str) -> BTreeSet<String> {
        let find = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -writable ! -type l -print \
                    2>/dev/null || true";
        let found = images.run(name, &[], &["/bin/sh", "-c", find]).expect(0).stdout;
        let found = found.lines().filter(|path| *path != "/run/lock").map(str::to_owned);
        found.collect()
    }

    #[test]
    fn image_with_clients_runs_the_tasks_of_the_chart() {
        let test_env = TestEnv::new();
        test_env.make_bulk("app", 1);
        let images = Images::new();
        build_deb("0.1.0-1", &images.context());
        let major = Installation::system().major.to_string();
        let arguments_of_build = [&*format!("CLIENTS={major}"), &*format!("SERVERS={major}"), "REPOSITORY=debian"];
        images.build("Containerfile", "clients", &arguments_of_build);
        images
            .run("clients", &[], &["/bin/cat", "/usr/share/doc/longshore/clients"])
            .expect(0)
            .stdout_shows(&format!("pg_dump (PostgreSQL) {major}."));
        let settings = images.settings("clients");
        assert_eq!(settings["User"], "65532:65532");
        assert_eq!(settings["Entrypoint"], json!(["/usr/bin/longshore"]));
        assert_eq!(writable(&images, "clients"), WRITABLE.map(str::to_owned).into());

        // The configuration, the variables and the volumes of the chart. The state is in the volume
        // of the image, which the container keeps.
        let (local, identity) = (test_env.local(), test_env.identity());
        give(&local);
        give(&identity);
        test_env
            .configure(&Job { more: "[job.nightly.drill]\nidentity = 'credential:identity.txt'", ..Job::default() });
        let config = fs::read_to_string(test_env.config_path()).unwrap();
        let config: String =
            config.lines().filter(|line| !line.contains("_dir = ")).map(|line| format!("{line}\n")).collect();
        let values = json!({ "config": config, "cronJobs": { "drill": { "enabled": true } } });
        let resources = render(&values);
        fs::write(test_env.config_path(), of_kind(&resources, "ConfigMap")[0]["data"]["config.toml"].as_str().unwrap())
            .unwrap();
        give(&test_env.config_path());
        let connection = test_env.cluster.connection();
        let socket = connection.split(' ').find_map(|word| word.strip_prefix("host=")).unwrap();
        let volumes = [
            format!("{}:/etc/longshore/config.toml:ro", test_env.config_path().display()),
            format!("{0}:{0}", local.display()),
            format!("{socket}:{socket}"),
        ];
        let credential = format!("{}:/run/credentials/longshore/identity.txt:ro", identity.display());
        let task = |verb: &str| {
            let name = format!("release-longshore-{verb}");
            let cron_jobs = of_kind(&resources, "CronJob");
            let cron_job = cron_jobs.into_iter().find(|cron_job| cron_job["metadata"]["name"] == *name).unwrap();
            let pod = pod(cron_job);
            let credential = (verb == "drill").then_some(&credential);
            let mut options: Vec<String> =
                volumes.iter().chain(credential).map(|volume| format!("--volume={volume}")).collect();
            options.extend(variables(pod).iter().map(|(name, value)| format!("--env={name}={value}")));
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let program = [vec!["/usr/bin/longshore"], arguments(pod)].concat();
            images.run("clients", &options, &program)
        };
        task("check").expect(0).shows("was never drilled");
        task("run").expect(0).shows("app");
        task("verify").expect(0).shows("digest matches");
        task("drill").expect(0).shows("restored and compared");
        task("prune").expect(0);
        let state = images.run("clients", &[], &["/usr/bin/find", "/var/lib/longshore", "-type", "f"]).expect(0).stdout;
        let locks = state.lines().filter(|path| path.starts_with("/var/lib/longshore/locks/nightly-"));
        assert_eq!(locks.count(), 1, "{state}");
        // The prefix of a report is the job and a digest of the path of the configuration.
        let reports = state.lines().filter_map(|path| path.strip_prefix("/var/lib/longshore/state/runs/nightly-"));
        let reports: Vec<(&str, &str)> = reports.filter_map(|name| name.split_once('.')).collect();
        for verb in ["-run-", "-drill-"] {
            assert!(reports.iter().any(|(_, name)| name.contains(verb)), "{verb}: {state}");
        }
        assert!(reports.iter().all(|(digest, _)| *digest == reports[0].0), "the tasks share the reports: {state}");
    }

    #[test]
    fn image_of_the_service_runs_without_postgresql() {
        let images = Images::new();
        let binary = images.context().join("longshore");
        let mut strip = Command::new("strip");
        finish(strip.arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_longshore"))).expect(0);
        images.build("Containerfile.serve", "service", &[]);
        images
            .run("service", &[], &["/usr/bin/longshore", "--version"])
            .expect(0)
            .shows(concat!("longshore ", env!("CARGO_PKG_VERSION")));
        let settings = images.settings("service");
        assert_eq!(settings["User"], "65532:65532");
        let command: Vec<&str> =
            settings["Cmd"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        images.run("service", &[], &[&["/usr/bin/longshore"][..], &command, &["--help"]].concat()).expect(0);
        images.run("service", &[], &["/bin/sh", "-c", "! command -v psql; test ! -e /usr/lib/postgresql"]).expect(0);
        assert_eq!(writable(&images, "service"), WRITABLE.map(str::to_owned).into());
    }
}
