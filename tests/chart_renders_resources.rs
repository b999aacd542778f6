//! The Helm chart: its resources are hardened, and fit the binary and its configuration.

use std::fs;
use std::process::Command;

use longshore_testkit::helm::Chart;
use serde_json::{Value, json};

use crate::support::packaging::{arguments, of_kind, packaging, pod, render, try_render, variables};
use crate::support::service::Service;
use crate::support::{Job, TestEnv, finish};

/// Values that use all parts of the chart.
fn full() -> Value {
    json!({
        "config": "[cluster.main]\nconnection = 'host=db user=postgres'\n",
        "files": { "recipients.txt": "age1example\n", "known_hosts": "host key\n" },
        "secrets": [{ "name": "s3" }],
        "env": [{ "name": "PGPASSWORD", "valueFrom": { "secretKeyRef": { "name": "server", "key": "password" } } }],
        "timeZone": "Europe/Berlin",
        "cronJobs": {
            "run": { "job": "nightly" },
            "verify": { "job": "nightly", "args": ["--percent", "10"] },
            "drill": { "enabled": true, "job": "nightly", "secrets": [{ "name": "s3" }, { "name": "identity" }],
                       "image": { "tag": "servers" }, "securityContext": { "seccompProfile": { "type": "Unconfined" } },
                       "hostUsers": false },
            "notices": { "enabled": true },
            "weekly-sync": { "verb": "sync", "job": "nightly", "schedule": "@weekly", "activeDeadlineSeconds": 3600 },
        },
        "serve": { "enabled": true, "tokens": [{ "credential": "read", "role": "read" }], "hosts": ["backup.example"],
                   "secrets": [{ "name": "s3-read" }, { "name": "tokens" }] },
        "serviceMonitor": { "enabled": true, "token": { "name": "tokens", "key": "read" } },
        "prometheusRule": { "enabled": true },
        "dashboard": { "enabled": true },
    })
}

/// Returns the resource of a kind with a name.
fn named<'a>(resources: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(resources, kind).into_iter().find(|resource| resource["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Returns the names of the Secrets that a pod mounts.
fn secrets(pod: &Value) -> Vec<&str> {
    let volumes = pod["volumes"].as_array().unwrap();
    let sources = volumes.iter().filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    sources.map(|source| source["secret"]["name"].as_str().unwrap()).collect()
}

#[test]
fn chart_passes_lint() {
    let folder = packaging("helm/longshore");
    for values in [json!({}), full()] {
        let messages = Chart { folder: &folder, values: &values }.lint().unwrap();
        assert!(messages.is_empty(), "{messages:#?}");
    }
    let chart = fs::read_to_string(folder.join("Chart.yaml")).unwrap();
    assert!(chart.contains(concat!("appVersion: \"", env!("CARGO_PKG_VERSION"), "\"")), "{chart}");
}

#[test]
fn pods_have_few_rights() {
    let mut values = full();
    values["fullnameOverride"] = json!("a-name-that-is-longer-than-a-name-of-a-cronjob-may-be");
    let resources = render(&values);
    let cron_jobs = of_kind(&resources, "CronJob");
    assert_eq!(cron_jobs.len(), 7);
    for cron_job in &cron_jobs {
        let spec = &cron_job["spec"];
        assert_eq!(spec["concurrencyPolicy"], "Forbid");
        assert_eq!(spec["startingDeadlineSeconds"], 3600);
        assert_eq!(spec["timeZone"], "Europe/Berlin");
        assert_eq!(spec["jobTemplate"]["spec"]["backoffLimit"], 0);
        assert_eq!(pod(cron_job)["restartPolicy"], "Never");
        assert!(cron_job["metadata"]["name"].as_str().unwrap().len() <= 52, "{cron_job}");
    }
    for resource in cron_jobs.into_iter().chain(of_kind(&resources, "Deployment")) {
        let pod = pod(resource);
        let container = &pod["containers"][0];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        for mount in container["volumeMounts"].as_array().unwrap().iter().filter(|mount| mount["name"] == "config") {
            // Without it, the canonical path of the configuration differs in each pod, and no pod
            // finds the run reports of another.
            let path = format!("/etc/longshore/{}", mount["subPath"].as_str().unwrap());
            assert_eq!(mount["mountPath"], path);
        }
    }
}

#[test]
fn identity_reaches_only_drills() {
    let resources = render(&full());
    for cron_job in of_kind(&resources, "CronJob") {
        let is_drill = cron_job["metadata"]["name"] == "release-longshore-drill";
        let expected = if is_drill { vec!["s3", "identity"] } else { vec!["s3"] };
        assert_eq!(secrets(pod(cron_job)), expected, "{cron_job}");
        let container = &pod(cron_job)["containers"][0];
        assert_eq!(container["securityContext"].get("seccompProfile").is_some(), is_drill);
        let tag = if is_drill { "servers" } else { env!("CARGO_PKG_VERSION") };
        assert_eq!(container["image"], format!("longshore:{tag}"));
        let password = json!({ "name": "PGPASSWORD",
                               "valueFrom": { "secretKeyRef": { "name": "server", "key": "password" } } });
        assert!(container["env"].as_array().unwrap().contains(&password));
    }
    let deployment = named(&resources, "Deployment", "release-longshore-serve");
    assert_eq!(secrets(pod(deployment)), ["s3-read", "tokens"]);
    assert!(of_kind(&resources, "Secret").is_empty());
}

#[test]
fn arguments_fit_the_binary() {
    let resources = render(&full());
    let mut verbs = Vec::new();
    for resource in of_kind(&resources, "CronJob").into_iter().chain(of_kind(&resources, "Deployment")) {
        let arguments = arguments(pod(resource));
        // An unknown option before --help is an error.
        finish(Command::new(env!("CARGO_BIN_EXE_longshore")).args(&arguments).arg("--help")).expect(0);
        verbs.push(arguments.join(" "));
    }
    verbs.sort();
    let expected = [
        "check",
        "drill nightly",
        "prune",
        "run nightly",
        "serve --no-schedule",
        "status --notify",
        "sync nightly",
        "verify --job nightly --percent 10",
    ];
    assert_eq!(verbs, expected);
}

#[test]
fn configuration_serves_the_names_of_the_service() {
    let test_env = TestEnv::new().with_stopped_cluster();
    test_env.configure(&Job::default());
    let mut values = full();
    values["config"] = json!(fs::read_to_string(test_env.config_path()).unwrap());
    let resources = render(&values);
    let config_map = &named(&resources, "ConfigMap", "release-longshore")["data"];
    assert_eq!(config_map["recipients.txt"], "age1example\n");
    fs::write(test_env.config_path(), config_map["config.toml"].as_str().unwrap()).unwrap();
    test_env.longshore(&["list"]).expect(0);

    let credentials = test_env.make_folder("credentials");
    fs::write(credentials.join("read"), "a token of the role read\n").unwrap();
    let deployment = pod(named(&resources, "Deployment", "release-longshore-serve"));
    let mut command = test_env.command();
    command.envs(variables(deployment)).env("CREDENTIALS_DIRECTORY", credentials);
    let service = Service::start_on(command.args(arguments(deployment)).args(["--listen", "127.0.0.1:0"]));
    service.wait_until_ready();
    let probe = |field: &str| deployment["containers"][0][field]["httpGet"]["path"].as_str().unwrap().to_owned();
    for path in [probe("livenessProbe"), probe("readinessProbe")] {
        // Kubernetes requests the address of the pod.
        assert_eq!(service.request(&format!("GET {path}"), &["Host: 192.0.2.7:8470"], "").status, 200, "{path}");
    }
    let token = "Authorization: Bearer a token of the role read";
    let monitor = &of_kind(&resources, "ServiceMonitor")[0]["spec"]["endpoints"][0];
    assert_eq!(monitor["honorLabels"], true, "the label `job` is that of a metric");
    let metrics = format!("GET {}", monitor["path"].as_str().unwrap());
    let service_name = named(&resources, "Service", "release-longshore-serve")["metadata"]["name"].as_str().unwrap();
    for host in [service_name, &format!("{service_name}.space.svc"), "backup.example"] {
        let host = format!("Host: {host}:8470");
        assert_eq!(service.request(&metrics, &[&host, token], "").status, 200, "{host}");
        assert_eq!(service.request(&metrics, &[&host], "").status, 401, "{host}");
    }
    assert_eq!(service.request(&metrics, &["Host: other.example", token], "").status, 421);
}

#[test]
fn example_of_the_manual_is_valid() {
    let manual = include_str!("../crates/cli/doc/longshore-containers.7.md");
    let (_, rest) = manual.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let resources = render(&json!(example));
    let config = &named(&resources, "ConfigMap", "release-longshore")["data"]["config.toml"];
    let test_env = TestEnv::new().with_stopped_cluster();
    fs::write(test_env.config_path(), config.as_str().unwrap()).unwrap();
    // Reads the configuration, and connects nowhere.
    test_env.longshore(&["schedule"]).expect(0);
    let drill = pod(named(&resources, "CronJob", "release-longshore-drill"));
    assert_eq!(secrets(drill), ["longshore-s3", "longshore-identity"]);
    assert_eq!(drill["containers"][0]["image"], "REGISTRY/longshore:0.1.0-servers");
}

#[test]
fn alerts_and_dashboard_are_those_of_the_packaging() {
    let resources = render(&full());
    let folder = packaging("helm/longshore/files");
    for name in ["alerts.yml", "grafana.json"] {
        let [own, source] = [folder.join(name), packaging(name)].map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(own, source, "{name}");
    }
    let alerts = fs::read_to_string(packaging("alerts.yml")).unwrap();
    let groups = &of_kind(&resources, "PrometheusRule")[0]["spec"]["groups"];
    let rules = groups[0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), alerts.matches("- alert: ").count());
    for rule in rules {
        assert!(alerts.contains(rule["annotations"]["summary"].as_str().unwrap()), "Helm has expanded {rule}");
    }
    let dashboard = named(&resources, "ConfigMap", "release-longshore-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let board = parse(dashboard["data"]["longshore.json"].as_str().unwrap());
    assert_eq!(board, parse(&fs::read_to_string(packaging("grafana.json")).unwrap()));
}

#[test]
fn wrong_values_are_refused() {
    let cases = [
        (json!({ "cronJob": {} }), "cronJob"),
        (json!({ "cronJobs": { "run": { "verb": "restore" } } }), "verb"),
        (json!({ "cronJobs": { "run": { "schedule": "daily" } } }), "schedule"),
        (json!({ "cronJobs": { "run": { "schedule": "TZ=Europe/Berlin 0 3 * * *" } } }), "schedule"),
        (json!({ "cronJobs": { "weekly": { "schedule": "0 3 * * 0" } } }), "verb"),
        (json!({ "cronJobs": { "Weekly": { "verb": "run", "schedule": "0 3 * * 0" } } }), "Weekly"),
        (json!({ "cronJobs": { "notices": { "job": "nightly" } } }), "job"),
        (json!({ "image": { "tag": 1 } }), "tag"),
        (json!({ "secrets": ["s3"] }), "secrets"),
        (json!({ "secrets": [{ "name": "s3", "value": "a secret" }] }), "value"),
        (json!({ "files": { "config.toml": "" } }), "config.toml"),
        (json!({ "state": { "accessModes": ["ReadOnlyMany"] } }), "accessModes"),
        (json!({ "serve": { "enabled": true, "tokens": [{ "credential": "t", "role": "admin" }] } }), "role"),
        // The templates refuse these.
        (json!({ "config": "" }), "config is empty"),
        (json!({ "serve": { "enabled": true } }), "serve has no tokens"),
        (json!({ "serve": { "enabled": true, "auth": "none" }, "config": "[serve]\n" }), "config contains [serve]"),
        (json!({ "serviceMonitor": { "enabled": true } }), "set serve.enabled"),
    ];
    for (values, words) in cases {
        let mut all = json!({ "config": "[cluster.main]\n" });
        all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        let message = try_render(&all).expect_err(&format!("{values} is accepted"));
        assert!(message.contains(words), "{values}: {message}");
    }
}
