//! The pages of the service in Chromium, which Playwright controls.

mod slow {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;

    use longshore_testkit::browser;
    use serde_json::Value;

    use crate::support::service::Service;
    use crate::support::{CommandOutput, Job, TestEnv, wait_for};

    /// Examines the service at an address, and returns the paths of its pages and what is wrong.
    fn examine(address: &str, job: &str) -> (Vec<String>, Vec<String>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pages_suit_browsers.js");
        let output = CommandOutput::of(browser::run(&script, &[&format!("http://{address}"), job])).expect(0);
        let result: Value = serde_json::from_str(&output.stdout).unwrap();
        let texts = |name: &str| {
            result[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        (texts("pages"), texts("findings"))
    }

    #[test]
    fn pages_have_no_findings_and_the_keyboard_runs_a_job() {
        let test_env = TestEnv::new();
        let policy = "retention = 'standard'\n[retention.standard]\nkeep_daily = 7\n\
                      [job.late]\ncluster = 'main'\ndump = [{ type = 'pg_dump' }]\nencrypt = { type = 'none' }\n\
                      ship = ['local']\nmax_age = '1h'\nschedule = '0 3 * * *'\n[serve]\nallow = ['run']";
        test_env.configure(&Job { more: policy, ..Job::default() });
        test_env.cluster.create_database("shop");
        test_env.longshore(&["run", "nightly"]).expect(0);
        test_env.run_with_identity(&["verify", "--all"]).expect(0);
        test_env.run_with_identity(&["drill", "nightly"]).expect(0);
        let service = Service::start(&mut test_env.command());
        service.wait_until_ready();
        let runs = || service.get("/runs").body.matches("-run-").count();
        let before = runs();
        let (pages, findings) = examine(service.address(), "nightly");
        assert_eq!(findings, Vec::<String>::new());
        for kind in ["/series/main/shop", "/runs/", "/drills/main/", "/policies/standard", "/destinations/local"] {
            assert!(pages.iter().any(|page| page.starts_with(kind)), "{kind} in {pages:?}");
        }
        wait_for("the run that the keyboard started", || (runs() > before).then_some(()));
    }

    #[test]
    fn faults_of_a_page_are_found() {
        const PAGE: &str = "<!DOCTYPE html><html><body><main><img src='/x.png'><p style='color: #999'>faint\
                            <div style='width: 2000px'>wide</div></main></body></html>";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut request = [0; 8192];
                    // A browser opens connections in advance, and closes them without a request.
                    if stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\
                                    Content-Security-Policy: default-src 'none'; style-src 'self' 'unsafe-inline'";
                        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len()).unwrap();
                    }
                });
            }
        });
        let (_, findings) = examine(&address, "nightly");
        for fault in
            ["axe: image-alt", "axe: color-contrast", "CSP: img-src", "wider than the window", "/:1: ", "keyboard"]
        {
            assert!(findings.iter().any(|finding| finding.contains(fault)), "{fault} in {findings:#?}");
        }
    }
}
