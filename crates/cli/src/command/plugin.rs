//! `longshore plugin`: test programs of the protocol longshore-exec/1, and write skeletons.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use longshore_config::Config;
use longshore_core::{Error, Kind, Result, Stage};

use crate::args::plugin::{Plugin, PluginNew, PluginTest};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins::{TestedProgram, registry, skeleton, test_program};

pub(super) async fn plugin(args: Plugin, config: &Path, output: Output) -> Result<Exit> {
    match args {
        Plugin::Test(test) => run_test(test, config, output).await,
        Plugin::New(new) => write_skeleton(&new, output),
    }
}

async fn run_test(args: PluginTest, config: &Path, output: Output) -> Result<Exit> {
    let PluginTest { mut program, setting, secret, env, hello_timeout, sample } = args;
    if let Some(path) = program.first_mut() {
        *path = located(path, config)?.display().to_string();
    }
    let sample = sample.map(|path| {
        std::fs::read(&path)
            .map_err(|error| Error::io(Stage::Config, path.display().to_string(), "cannot read the sample", error))
    });
    let (passed, lines) =
        test_program(TestedProgram { argv: program, setting, secret, env, hello_timeout }, sample.transpose()?).await?;
    lines.into_iter().for_each(|line| output.line(line));
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

/// Returns the absolute path of a program. A name without a slash is in `plugin_dir`, if the
/// configuration has one.
fn located(program: &str, config: &Path) -> Result<PathBuf> {
    let plugin_dir = match !program.contains('/') && config.exists() {
        true => Config::load(config, &registry()).map_err(|error| or_path(error, program))?.plugin_dir,
        false => None,
    };
    match plugin_dir {
        Some(plugin_dir) => Ok(plugin_dir.join(program)),
        None => std::path::absolute(program)
            .map_err(|error| Error::io(Stage::Config, program, "cannot find the program", error)),
    }
}

/// Adds the hint that a path needs no configuration, which cannot be read.
fn or_path(error: Error, program: &str) -> Error {
    let path = format!("pass ./{program} if you mean a file in the working directory");
    let hint = error.remedy().map_or_else(|| path.clone(), |hint| format!("{hint}; or {path}"));
    error.hint(hint)
}

fn write_skeleton(args: &PluginNew, output: Output) -> Result<Exit> {
    let path = args.name.display().to_string();
    let Some(name) = args.name.file_name().and_then(|name| name.to_str()) else {
        let message = "the file needs a name";
        return Err(Error::new(Stage::Config, Kind::Usage, path, message).hint("pass a name such as backup-store"));
    };
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if !name.chars().all(is_plain) {
        let message = "the name of a program has only A-Z a-z 0-9 . _ -";
        return Err(Error::new(Stage::Config, Kind::Usage, path, message).hint("choose a name such as backup-store"));
    }
    let text = skeleton(args.language, name);
    let created = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&args.name);
    let written = created.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Error::io(Stage::Config, &path, "cannot write the skeleton", error)
            .hint("name a new file in an existing folder")
    })?;
    output.line(format_args!("wrote {path}"));
    output.note(format_args!("test it with `longshore plugin test {path} --setting path=DIR`"));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_by_path_needs_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "plugin_dirs = '/'").unwrap();
        let error = located("store", &config).unwrap_err();
        assert!(error.remedy().unwrap().contains("./store"), "{error:?}");
        assert!(located("./store", &config).unwrap().ends_with("store"));
    }
}
